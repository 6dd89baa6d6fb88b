package targets

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/hookmux/hookmux/mux/muxtest/lanes"
)

// KafkaBroker is Apache Kafka itself, one node that is broker and controller. A topic is made
// when it is first used, with three partitions.
type KafkaBroker struct {
	*Server
	// Broker is the address to begin with.
	Broker string
}

// Kafka is the Kafka of this test binary. Its topics are everyone's: a test takes names
// that no other takes. It needs the lane kafka, which make lane-kafka installs.
func Kafka(t testing.TB) *KafkaBroker { t.Helper(); return newKafka(Shared(t, kafka(t))) }

// NewKafka is a Kafka of the test's own.
func NewKafka(t testing.TB) *KafkaBroker { t.Helper(); return newKafka(New(t, kafka(t))) }

func newKafka(s *Server) *KafkaBroker { return &KafkaBroker{s, s.Addr} }

// kafka needs to know where the lane is, which a constant cannot.
func kafka(t testing.TB) *Program {
	t.Helper()
	lane := lanes.Require(t, "kafka")
	return kafkaIn(lane.Dir)
}

//nolint:gochecknoglobals // it is one program, however often it is asked for
var kafkaIn = func() func(string) *Program {
	var once sync.Once
	var p *Program
	return func(dir string) *Program {
		once.Do(func() { p = newKafkaProgram(dir) })
		return p
	}
}()

func newKafkaProgram(dir string) *Program {
	java := func(args ...string) []string {
		return append([]string{
			"-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
			"-cp", filepath.Join(dir, "*"),
		}, args...)
	}
	return &Program{
		Name:     "Kafka",
		Binaries: []string{"java"},
		Install:  "apt-get install openjdk-17-jdk-headless maven, then make lane-kafka",
		Init: func(s *Server) error {
			if err := writeKafkaConfig(s); err != nil {
				return err
			}
			const cluster = "aG9va211eC10ZXN0cy1hYQ" // any 16 bytes in base64
			return s.Run(context.Background(), "java", java("kafka.tools.StorageTool", "format", "-t", cluster, "-c", s.path("server.properties"))...)
		},
		Args: func(s *Server) []string {
			_ = writeKafkaConfig(s) // without it Kafka says what it lacks
			return java("kafka.Kafka", s.path("server.properties"))
		},
		Ready: func(ctx context.Context, s *Server) error {
			var d net.Dialer
			conn, err := d.DialContext(ctx, "tcp", s.Addr)
			if err != nil {
				return err
			}
			return conn.Close()
		},
	}
}

// writeKafkaConfig makes the file anew for each start: the controller's port is nobody's
// but the node's own, so it may be another one.
func writeKafkaConfig(s *Server) error {
	controller, err := freePort()
	if err != nil {
		return err
	}
	config := fmt.Sprintf(`process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:%[2]d
listeners=PLAINTEXT://127.0.0.1:%[1]d,CONTROLLER://127.0.0.1:%[2]d
advertised.listeners=PLAINTEXT://127.0.0.1:%[1]d
controller.listener.names=CONTROLLER
log.dirs=%[3]s
num.partitions=3
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=3000
broker.heartbeat.interval.ms=500
num.network.threads=2
num.io.threads=2
log.cleaner.dedupe.buffer.size=4194304
`, max(s.Port, 1), controller, s.path("data"))
	return os.WriteFile(s.path("server.properties"), []byte(config), 0o600)
}
