package io.github.hookmux;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedInputStream;
import io.grpc.MethodDescriptor;
import io.grpc.MethodDescriptor.MethodType;
import io.grpc.ServerServiceDefinition;
import io.grpc.Status;
import java.io.IOException;

/** grpc.health.v1 for the service "plugin": two fields do not need their library, with its dependencies. */
final class Health {
  private static final String SERVICE = "grpc.health.v1.Health";

  static final MethodDescriptor<ByteString, ByteString> CHECK = Wire.method(SERVICE, "Check", MethodType.UNARY);

  private static final ByteString SERVING = ByteString.copyFrom(new byte[] {1 << 3, 1}); // status = 1

  private Health() {}

  static ServerServiceDefinition service() {
    return ServerServiceDefinition.builder(SERVICE)
        .addMethod(CHECK, (call, headers) -> new UnaryCall(call, Health::check))
        .build();
  }

  private static ByteString check(ByteString request) throws IOException {
    String service = "";
    CodedInputStream in = request.newCodedInput();
    for (int tag = in.readTag(); tag != 0; tag = in.readTag()) {
      if (tag == (1 << 3 | 2)) {
        service = in.readString();
      } else {
        in.skipField(tag);
      }
    }
    if (!service.isEmpty() && !service.equals("plugin")) {
      throw Status.NOT_FOUND.withDescription("no service " + service).asRuntimeException();
    }
    return SERVING;
  }
}
