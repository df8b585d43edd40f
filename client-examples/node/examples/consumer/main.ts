import {
  Client,
  describe,
  describeDisconnected,
  describeDraining,
  describeNotice,
  describeSession,
  FileCursor,
  type Hooks,
} from 'powerstream-consumer';

import { parseConfig, type Config } from './config.js';
import { Exit, exitOf, lineOf } from './exit.js';
import { linesOf } from './line.js';
import { Output } from './output.js';

/** Milliseconds that a shutdown may take. */
const STOP_WAIT_MAX = 5_000;

/** The first SIGTERM or SIGINT stops; a second one ends the process as the system does it. */
function stopSignal(output: Output): AbortSignal {
  const stop = new AbortController();
  const signals = ['SIGTERM', 'SIGINT'] as const;
  const onSignal = (): void => {
    signals.forEach((signal) => process.off(signal, onSignal));
    stop.abort();
    // The reader of the output may have stopped reading.
    const end = (): void => {
      output.printStatus('error: stopped within a frame: its token is not stored');
      process.exit(Exit.FAILED);
    };
    setTimeout(end, STOP_WAIT_MAX).unref();
  };
  signals.forEach((signal) => process.on(signal, onSignal));
  return stop.signal;
}

function hooks(output: Output): Hooks {
  return {
    onConnected(session) {
      output.printStatus(...describeSession(session));
    },
    onDisconnected(disconnected) {
      output.printStatus(describeDisconnected(disconnected));
    },
    onDraining(draining) {
      output.printStatus(describeDraining(draining));
    },
    onNotice(notice) {
      // A change of the rules is a frame too.
      if (notice.ruleChange === undefined) {
        output.printStatus(describeNotice(notice));
      }
    },
  };
}

async function main(output: Output): Promise<void> {
  const signal = stopSignal(output);
  // LOAD
  const config: Config = parseConfig(process.argv.slice(2), process.env);
  const client = new Client({ ...config, hooks: hooks(output) });
  await client.verifyCredential();
  const cursor = config.cursorFile === undefined ? undefined : await FileCursor.open(config.cursorFile);
  if (cursor === undefined) {
    output.printStatus('no --cursor-file: the resume token is in memory only and lost with this process');
  }
  let printed = 0;
  for await (const frame of client.subscribe({ ...config, token: cursor?.token, signal })) {
    if (frame.kind === 'batch') {
      await output.print(linesOf(frame));
      printed += frame.events.length;
    } else {
      output.printStatus(...describe(frame));
    }
    await cursor?.store(frame.token);
    if (printed >= config.count) {
      break;
    }
  }
}

const output = new Output(process.stdout, process.stderr);
try {
  await main(output);
  process.exit(Exit.DONE);
} catch (error) {
  output.printStatus(lineOf(error));
  process.exit(exitOf(error));
}
