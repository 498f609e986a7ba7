import { StandardSchemaValidationPipe, type ArgumentMetadata } from '@nestjs/common';
import { Problem, type ProblemField } from './problem.js';

/** Validates and coerces every `@Body`, `@Query` and `@Param` that names a schema. */
export function validationPipe(): StandardSchemaValidationPipe {
  return new NamingPipe({
    exceptionFactory: (issues) => {
      const wrong = issues.flatMap((issue) => closestBranch(issue as Issue, []));
      const fields = wrong
        .slice(0, FIELDS_MAX)
        .map((issue): ProblemField => ({ field: issue.path.map(String).join('.'), detail: issue.message }));
      const first = fields[0];
      const where = first === undefined || first.field === '' ? 'The request' : `"${first.field}"`;
      const more =
        wrong.length > 1
          ? ` ${wrong.length - 1} more ${wrong.length === 2 ? 'thing is' : 'things are'} wrong, too.`
          : '';
      return new Problem('invalid-request', `${where}: ${first?.detail ?? 'is wrong'}.${more}`, fields);
    },
  });
}

/** A part of the path is validated by itself, so what is wrong with it has no name of its own. */
class NamingPipe extends StandardSchemaValidationPipe {
  override async transform<T = unknown>(value: T, metadata: ArgumentMetadata): Promise<T> {
    try {
      return await super.transform(value, metadata);
    } catch (error) {
      const field = metadata.type === 'param' ? metadata.data : undefined;
      if (!(error instanceof Problem) || field === undefined) throw error;
      const fields = error.fields.map(({ detail }) => ({ field, detail }));
      throw new Problem(error.code, `"${field}" in the path: ${fields[0]?.detail ?? 'is wrong'}.`, fields);
    }
  }
}

/** What zod says of one wrong value; a union also says what each of its branches missed. */
interface Issue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly code?: string;
  readonly errors?: readonly (readonly Issue[])[];
}

/** "Invalid input" helps nobody: of a union, the branch with the fewest complaints is most likely the one that was meant. */
function closestBranch(issue: Issue, above: readonly PropertyKey[]): { path: PropertyKey[]; message: string }[] {
  const path = [...above, ...issue.path];
  const branches =
    issue.code === 'invalid_union'
      ? (issue.errors ?? []).map((branch) => branch.flatMap((inner) => closestBranch(inner, path)))
      : [];
  const closest = branches.filter((branch) => branch.length > 0).sort((a, b) => a.length - b.length)[0];
  return closest ?? [{ path, message: issue.message }];
}

/** A batch of a thousand wrong rows is understood from its first ones. */
const FIELDS_MAX = 50;
