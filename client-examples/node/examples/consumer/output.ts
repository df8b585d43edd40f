import type { Writable } from 'node:stream';

/** Lines for programs on stdout, words for people on stderr. */
export class Output {
  constructor(
    private readonly lines: Writable,
    private readonly people: Writable,
  ) {
    // A line that cannot be written fails `print`; words that cannot be are lost.
    lines.on('error', ignore);
    people.on('error', ignore);
  }

  /** Done once the system has taken it, so that a token stored after it is true. */
  print(text: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.lines.write(text, (error) => {
        if (error) {
          reject(new Error(`cannot write the output: ${error.message}`));
        } else {
          resolve();
        }
      });
    });
  }

  printStatus(...lines: string[]): void {
    for (const line of lines) {
      // A text from outside stays on its line.
      this.people.write(`${line.replaceAll(/\s+/g, ' ')}\n`);
    }
  }
}

function ignore(): void {
  // See the constructor.
}
