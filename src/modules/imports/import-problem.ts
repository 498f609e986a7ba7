/** Something about the file as a whole that its sender can mend. The only thing that reading a file may throw. */
export class ImportProblem extends Error {
  override readonly name = 'ImportProblem';
}
