package io.github.hookmux;

import com.google.protobuf.ByteString;
import com.google.protobuf.UnsafeByteOperations;
import io.grpc.Drainable;
import io.grpc.KnownLength;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.io.UncheckedIOException;

/** gRPC methods whose messages are bytes: only who handles an event decodes it. */
final class Wire implements MethodDescriptor.Marshaller<ByteString> {
  private static final Wire BYTES = new Wire();

  private Wire() {}

  static MethodDescriptor<ByteString, ByteString> method(String service, String name, MethodType type) {
    return MethodDescriptor.newBuilder(BYTES, BYTES)
        .setFullMethodName(MethodDescriptor.generateFullMethodName(service, name))
        .setType(type)
        .build();
  }

  @Override
  public InputStream stream(ByteString bytes) {
    return new Stream(bytes);
  }

  @Override
  public ByteString parse(InputStream in) {
    try {
      byte[] bytes;
      if (in instanceof KnownLength) {
        bytes = new byte[in.available()];
        int n = in.readNBytes(bytes, 0, bytes.length);
        if (n < bytes.length) {
          throw new IOException("the message ends in the middle");
        }
      } else {
        bytes = in.readAllBytes();
      }
      return UnsafeByteOperations.unsafeWrap(bytes);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** What gRPC sends without a copy in between. */
  private static final class Stream extends InputStream implements Drainable, KnownLength {
    private final ByteString bytes;
    private InputStream rest;

    Stream(ByteString bytes) {
      this.bytes = bytes;
    }

    @Override
    public int drainTo(OutputStream out) throws IOException {
      bytes.writeTo(out);
      return bytes.size();
    }

    @Override
    public int available() throws IOException {
      return rest == null ? bytes.size() : rest.available();
    }

    @Override
    public int read() throws IOException {
      return rest().read();
    }

    @Override
    public int read(byte[] b, int off, int len) throws IOException {
      return rest().read(b, off, len);
    }

    private InputStream rest() {
      if (rest == null) {
        rest = new ByteArrayInputStream(bytes.toByteArray());
      }
      return rest;
    }
  }
}
