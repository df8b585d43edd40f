// Package powerstream is a consumer of powerstream-gateway: it subscribes, reconnects, resumes without loss, and verifies the
// delivery contract. It implements the loop of client-examples/PROTOCOL.md.
//
// A [Client] delivers an endless sequence of frames. The caller makes the effect of a frame durable together with its token,
// best in one transaction of its database, and asks for the next. After a disconnect the client resumes with the token of the
// last frame that the caller has finished; after a restart the caller passes the token that it stored. Each event then takes
// effect exactly once.
//
//	client, err := powerstream.New(powerstream.Config{Address: "http://127.0.0.1:50051", Consumer: "indexer"})
//	...
//	for frame, err := range client.Frames(ctx, stored) {
//		if err != nil {
//			return err // The same request would fail again.
//		}
//		switch frame := frame.(type) {
//		case *powerstream.Batch:
//			... // frame.Events
//		case *powerstream.Gap:
//			... // Posts are lost if frame.IsLoss().
//		}
//		... // Store frame.Token() in the same transaction, if it is not empty.
//	}
//
// [Client.Run] does the same with functions of a [Handler], and handles their errors: it loads the token again, waits, and
// delivers the frame again.
//
// Owns: connecting with the current credential, the retry policy, the watchdog for silent sessions, the validation of each
// session, and a cursor file for the simple case. Does not own: the effect of events, output, signals.
package powerstream

// Version of this package: that of the gateway with which it was released.
const Version = "0.1.0"
