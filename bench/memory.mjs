import { readFileSync } from 'node:fs';

/** Memory that a process holds now, in MB (Linux only). */
export const residentMb = (pid) =>
  Math.round(Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) / 1024);

/** Looks twice a second at what must stay small. @returns ended later: MB at its beginning, and at most */
export function watchMemory(pid) {
  const startMb = residentMb(pid);
  let maxMb = startMb;
  const timer = setInterval(() => {
    maxMb = Math.max(maxMb, residentMb(pid));
  }, 500);
  return () => {
    clearInterval(timer);
    return { startMb, maxMb };
  };
}
