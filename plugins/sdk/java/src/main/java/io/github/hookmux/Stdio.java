package io.github.hookmux;

import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;

/**
 * Under hookmux, stdout is the handshake channel, and what a plugin prints goes to stderr, which
 * hookmux logs. The file descriptor 1 stays the pipe, since Java cannot point it elsewhere: hookmux
 * logs as well what native code or a child process writes there.
 */
final class Stdio {
  /** Lines are cut by hookmux at 8 KiB. */
  private static final int LINE = 8 << 10;

  private static final FileOutputStream STDERR = new FileOutputStream(FileDescriptor.err);

  private Stdio() {}

  /** Does nothing in a process that hookmux has not started. */
  static void leaveStdout() {
    if (Env.underHookmux()) {
      PrintStream toStderr = new PrintStream(new Lines(), false, StandardCharsets.UTF_8);
      System.setOut(toStderr);
      System.setErr(toStderr);
      Log.install();
    }
  }

  /** The handshake line, the only one that goes to stdout. */
  static void handshake(String line) throws IOException {
    new FileOutputStream(FileDescriptor.out).write((line + "\n").getBytes(StandardCharsets.US_ASCII));
  }

  /** Writes whole lines, with their end, to stderr. */
  static void stderr(byte[] lines, int length) throws IOException {
    synchronized (STDERR) {
      STDERR.write(lines, 0, length);
    }
  }

  /** One system call for a line, and no line inside another. */
  private static final class Lines extends OutputStream {
    private final byte[] buffer = new byte[LINE];
    private int used;

    @Override
    public synchronized void write(int b) throws IOException {
      buffer[used++] = (byte) b;
      if (b == '\n' || used == LINE) {
        flushLines();
      }
    }

    @Override
    public synchronized void write(byte[] b, int off, int len) throws IOException {
      while (len > 0) {
        int n = Math.min(len, LINE - used);
        System.arraycopy(b, off, buffer, used, n);
        used += n;
        off += n;
        len -= n;
        if (used == LINE || buffer[used - 1] == '\n') {
          flushLines();
        }
      }
    }

    private void flushLines() throws IOException {
      int n = used;
      used = 0;
      stderr(buffer, n);
    }

    @Override
    public synchronized void flush() throws IOException {
      if (used > 0) {
        flushLines();
      }
    }
  }
}
