/** Nothing came for so long. */
export class Silence extends Error {
  constructor(readonly seconds: number) {
    super(`no frame for ${seconds} s`);
  }
}

/** Waits for `next` for at most so many milliseconds: only the wait is measured, not what is done between two. */
export async function watched<T>(next: Promise<T>, silenceMaxMs: number): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<never>((_, reject) => {
    timer = setTimeout(() => {
      reject(new Silence(silenceMaxMs / 1_000));
    }, silenceMaxMs);
  });
  try {
    return await Promise.race([next, silence]);
  } finally {
    clearTimeout(timer);
  }
}
