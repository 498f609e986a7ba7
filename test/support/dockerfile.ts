/** A Dockerfile as its stages and instructions, as far as ours goes. */
export interface Instruction {
  readonly name: string;
  /** `--from=build` and the like. */
  readonly flags: Readonly<Record<string, string>>;
  /** What follows; the JSON form is taken apart, everything else stands in one piece. */
  readonly words: readonly string[];
}

export interface Stage {
  readonly base: string;
  readonly as: string | null;
  readonly instructions: readonly Instruction[];
}

export function readDockerfile(text: string): Stage[] {
  const lines = text
    .split('\n')
    .filter((line) => !line.trimStart().startsWith('#'))
    .join('\n')
    .replaceAll(/\\\n\s*/g, ' ')
    .split('\n')
    .filter((line) => line.trim() !== '');
  const stages: { base: string; as: string | null; instructions: Instruction[] }[] = [];
  for (const line of lines) {
    const [, name = '', rest = ''] = /^(\S+)\s+(.*)$/.exec(line.trim()) ?? [];
    if (name === 'FROM') {
      const [base = '', , as = null] = rest.split(/\s+/);
      stages.push({ base, as, instructions: [] });
    } else stages.at(-1)?.instructions.push(readInstruction(name, rest));
  }
  return stages;
}

function readInstruction(name: string, rest: string): Instruction {
  const flags: Record<string, string> = {};
  let text = rest.trim();
  for (let flag = /^--([\w-]+)=(\S+)\s+/.exec(text); flag !== null; flag = /^--([\w-]+)=(\S+)\s+/.exec(text)) {
    flags[flag[1] ?? ''] = flag[2] ?? '';
    text = text.slice(flag[0].length);
  }
  if (name === 'HEALTHCHECK') text = text.replace(/^CMD\s+/, '');
  return { name, flags, words: text.startsWith('[') ? (JSON.parse(text) as string[]) : text.split(/\s+/) };
}

/** `ENV A=1 B=2` of a stage, later ones winning. */
export function environmentOf(stage: Stage): Record<string, string> {
  return Object.fromEntries(
    stage.instructions
      .filter(({ name }) => name === 'ENV')
      .flatMap(({ words }) => words.map((word) => word.split('=') as [string, string])),
  );
}

/** The last instruction of that name. */
export function last(stage: Stage, name: string): Instruction | undefined {
  return stage.instructions.findLast((instruction) => instruction.name === name);
}
