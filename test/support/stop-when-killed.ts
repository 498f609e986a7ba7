import { spawn } from 'node:child_process';
import { Socket } from 'node:net';

/**
 * A hub's server outlives its killed hub on purpose; a test's must not. The shell waits until our end of the pipe
 * closes, however we end; after an orderly end there is no pid file any more.
 */
export function stopWhenWeAreKilled(pidFile: string, signal: 'INT' | 'TERM' = 'INT'): void {
  const script = 'cat > /dev/null; test -f "$1" && kill -"$2" "$(head -n 1 "$1")"';
  const keeper = spawn('sh', ['-c', script, 'sh', pidFile, signal], {
    detached: true,
    stdio: ['pipe', 'ignore', 'ignore'],
  });
  keeper.unref();
  if (keeper.stdin instanceof Socket) keeper.stdin.unref();
}
