/** What the program ends with; scripts branch on these, so a number never changes its meaning. */
export const exitCodes = {
  ok: 0,
  /** The hub refused it, a person said no, or something that was looked at is not well. */
  refused: 1,
  /** The command line itself is wrong; nothing was asked of the hub. */
  usage: 2,
  notReachable: 3,
  notAuthorised: 4,
  /** No answer in time, or a change that did not arrive at the cart in time. */
  late: 5,
  /** Ctrl-C, as shells count it. */
  interrupted: 130,
} as const;
export type ExitCode = (typeof exitCodes)[keyof typeof exitCodes];

/** Ends the program with its code after its message, which is a sentence that says what to do. */
export class CommandLineError extends Error {
  override readonly name: string = 'CommandLineError';
  constructor(
    readonly exitCode: ExitCode,
    message: string,
    /** What the hub answered, for `--json`. */
    readonly answer: string | null = null,
  ) {
    super(message);
  }
}

export class UsageError extends CommandLineError {
  override readonly name = 'UsageError';
  constructor(message: string) {
    super(exitCodes.usage, message);
  }
}
