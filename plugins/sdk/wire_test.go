package sdk_test

import (
	"math"

	"google.golang.org/grpc"
)

var (
	forceRaw  = grpc.ForceCodec(rawCodec{})
	unlimited = grpc.MaxCallRecvMsgSize(math.MaxInt32)
)
