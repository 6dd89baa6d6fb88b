"""A plugin without an SDK: a gRPC server of app protocol 1, and the handshake line.

It lets alice in, has no opinion of others, and prints who connects. The messages
are read and written by hand, so that it needs nothing but grpcio.
"""
import os
import signal
import sys
from concurrent import futures

import grpc

PARENT = os.getppid()  # at once, before it can have died
SERVICE = "emqx.exhook.v3.HookProvider"


def field(number, payload):
    """A length-delimited protobuf field, shorter than 128 bytes."""
    return bytes([number << 3 | 2, len(payload)]) + payload


def loaded(_request, _context):
    hooks = (b"client.authenticate", b"client.connected")
    return b"".join(field(1, field(1, name)) for name in hooks)  # LoadedResponse


def authenticate(request, context):
    if not request.startswith(b"\x0a"):  # field 1, the clientinfo
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no clientinfo")
    if field(3, b"alice") in request:  # its username
        return b"\x08\x02\x18\x01"  # ValuedResponse: STOP_AND_RETURN, bool_result true
    return b"\x08\x01"  # IGNORE


def connected(request, context):
    if not request.startswith(b"\x0a"):
        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "no clientinfo")
    print("a client has connected", file=sys.stderr)
    return b""


def main():
    if "HOOKMUX_PLUGIN" not in os.environ:
        sys.exit("This is a plugin: put it into hookmux.yaml, and hookmux starts it.")
    methods = {"OnProviderLoaded": loaded, "OnProviderUnloaded": lambda r, c: b"", "OnClientAuthenticate": authenticate, "OnClientConnected": connected}
    server = grpc.server(futures.ThreadPoolExecutor(16), options=[("grpc.max_receive_message_length", -1)])
    handlers = {name: grpc.unary_unary_rpc_method_handler(method) for name, method in methods.items()}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    socket = os.path.join(os.environ["PLUGIN_UNIX_SOCKET_DIR"], f"plain-{os.getpid()}")
    server.add_insecure_port("unix:" + socket)
    server.start()
    signal.signal(signal.SIGTERM, lambda *_: server.stop(1))
    print(f"1|1|unix|{socket}|grpc", flush=True)

    while os.getppid() == PARENT and server.wait_for_termination(0.5):  # True: it still runs
        pass
    server.stop(0)


if __name__ == "__main__":
    main()
