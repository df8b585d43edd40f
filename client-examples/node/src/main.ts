import { parseConfig, UsageError } from './config.js';
import { Consumer } from './consumer.js';
import { readCredential, Unreadable } from './credential.js';
import { CursorDamaged, CursorFile } from './cursor_file.js';
import { STOP_WAIT_MAX } from './limits.js';
import { Output } from './output.js';
import { Exit } from './decision.js';

/** The first SIGTERM or SIGINT stops; a second one ends the process as the system does it. */
function stopSignal(): AbortSignal {
  const stop = new AbortController();
  const signals = ['SIGTERM', 'SIGINT'] as const;
  const onSignal = (): void => {
    signals.forEach((signal) => process.off(signal, onSignal));
    stop.abort();
    // The reader of the output may have stopped reading.
    setTimeout(() => process.exit(Exit.DONE), STOP_WAIT_MAX).unref();
  };
  signals.forEach((signal) => process.on(signal, onSignal));
  return stop.signal;
}

async function main(output: Output): Promise<Exit> {
  const stop = stopSignal();
  const config = parseConfig(process.argv.slice(2), process.env);
  await readCredential(config);
  const cursor = await CursorFile.load(config.cursorFile);
  if (config.cursorFile === undefined) {
    output.printStatus('no --cursor-file: the resume token is in memory only and lost with this process');
  }
  return await new Consumer(config, cursor, output, stop).run();
}

function exitOf(error: unknown): Exit {
  if (error instanceof UsageError || error instanceof Unreadable) {
    return Exit.USAGE;
  }
  return error instanceof CursorDamaged ? Exit.POSITION : Exit.FAILED;
}

const output = new Output(process.stdout, process.stderr);
main(output)
  .catch((error: unknown) => {
    output.printStatus(`error: ${error instanceof Error ? error.message : String(error)}`);
    return exitOf(error);
  })
  .then((exit) => process.exit(exit));
