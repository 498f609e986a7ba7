import { StandardSchemaValidationPipe } from '@nestjs/common';
import { Problem, type ProblemField } from './problem.js';

/** Validates and coerces every `@Body`, `@Query` and `@Param` that names a schema. */
export function validationPipe(): StandardSchemaValidationPipe {
  return new StandardSchemaValidationPipe({
    exceptionFactory: (issues) => {
      const fields = issues.slice(0, FIELDS_MAX).map((issue): ProblemField => ({
        field: (issue.path ?? []).map((part) => String(typeof part === 'object' ? part.key : part)).join('.'),
        detail: issue.message,
      }));
      const first = fields[0];
      const where = first === undefined || first.field === '' ? 'The request' : `"${first.field}"`;
      const more = issues.length > 1 ? ` ${issues.length - 1} more of the fields are wrong, too.` : '';
      return new Problem('invalid-request', `${where}: ${first?.detail ?? 'is wrong'}.${more}`, fields);
    },
  });
}

/** A batch of a thousand wrong rows is understood from its first ones. */
const FIELDS_MAX = 50;
