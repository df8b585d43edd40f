package io.powerstream.gateway.example;

import com.google.gson.stream.JsonWriter;
import io.powerstream.gateway.consumer.Frame;
import io.powerstream.gateway.v1.Event;
import io.powerstream.gateway.v1.Origin;
import java.io.IOException;
import java.io.StringWriter;
import java.io.UncheckedIOException;

/** What is printed for events: a line of JSON each. */
final class Lines {
    private Lines() {}

    static String of(Frame.Batch batch) {
        StringWriter lines = new StringWriter();
        try {
            for (Event event : batch.events()) {
                write(new JsonWriter(lines), event, batch.possibleDuplicate());
                lines.write('\n');
            }
        } catch (IOException error) {
            throw new UncheckedIOException("memory takes all of it", error);
        }
        return lines.toString();
    }

    private static void write(JsonWriter json, Event event, boolean possibleDuplicate) throws IOException {
        json.beginObject();
        // 64-bit numbers as strings: JSON readers round them.
        json.name("sequence").value(Long.toUnsignedString(event.getSequence()));
        json.name("post_id").value(Long.toUnsignedString(event.getPostId()));
        json.name("tags").beginArray();
        for (String tag : event.getTagsList()) {
            json.value(tag);
        }
        json.endArray();
        json.name("event_time_ms").value(Long.toString(event.getEventTimeMs()));
        json.name("origin").value(origin(event));
        json.name("gap_id").value(event.getGapId());
        json.name("delta").value(event.getDelta());
        json.name("possible_duplicate").value(possibleDuplicate);
        json.name("json").value(event.getJson());
        json.endObject();
    }

    private static String origin(Event event) {
        boolean unknown = event.getOrigin() == Origin.UNRECOGNIZED;
        return unknown ? Integer.toString(event.getOriginValue()) : event.getOrigin().name().replace("ORIGIN_", "");
    }
}
