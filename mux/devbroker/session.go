package devbroker

import (
	"net"
	"strconv"
	"sync"
	"time"

	mqtt "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
	"google.golang.org/protobuf/proto"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// session is one connection with its MQTT session, from the CONNECT on until
// nobody can resume it any more. It stands for EMQX's process per client: calls
// made for it go one after another.
type session struct {
	cl       *mqtt.Client
	conn     *exhookv3.ConnInfo
	info     *exhookv3.ClientInfo // client id is set once mochi assigned one
	password string
	protocol byte // 3, 4, 5
	window   int  // how many messages may wait for the client
	connect  packets.Packet

	proc sync.Mutex // held during each call

	// Set by the connection's own goroutine only.
	refused    bool     // authenticate said no
	old        *session // the session that this one replaces
	oldOffline bool     // which had no connection any more
	holdsID    bool     // has locked its client id
	byClient   string   // reason of the client's own DISCONNECT
	unsub      []string // filters that the UNSUBSCRIBE at hand really ends
	authz      map[string]authzEntry
	priorDup   map[uint16]bool // packet ids that the old session had sent already
	disconnect sync.Once

	// added is closed when mochi has put the client into its table, up when
	// session.created or session.resumed was called, ended when the end of the
	// connection was told, done when its goroutine is over. The first two are also
	// closed when the connection dies before.
	added, up, ended, done chan struct{}
	addedOnce, upOnce      sync.Once

	mu       sync.Mutex
	room     *sync.Cond // on mu: inflight shrank, or the connection is over
	phase    phase
	next     *session // who replaces this one
	endKind  endKind
	keeps    bool                         // can be resumed after the connection
	inflight map[uint16]*exhookv3.Message // sent and not done with; nil: PUBREC came
	resumes  bool                         // mochi is resending, from the goroutine that reads
	over     bool                         // the connection is
	will     *time.Timer                  // a delayed will
	willSend func()                       // publishes it
}

type authzEntry struct {
	allowed bool
	until   time.Time
}

// phase is where a session's connection stands, for whom would replace it.
type phase int

const (
	online  phase = iota // replaced by disconnecting it
	leaving              // going by itself; wait for done and look again
	offline              // gone, the session is kept
)

// endKind is how a session that another connection replaces ends.
type endKind int

const (
	takenover endKind = iota
	discarded
)

func newSession(cl *mqtt.Client, pk packets.Packet, d dialect, node string) *session {
	s := &session{
		cl: cl, connect: pk, protocol: pk.ProtocolVersion,
		password: string(pk.Connect.Password),
		authz:    map[string]authzEntry{},
		inflight: map[uint16]*exhookv3.Message{},
		added:    make(chan struct{}), up: make(chan struct{}),
		ended: make(chan struct{}), done: make(chan struct{}),
	}
	s.room = sync.NewCond(&s.mu)
	s.window = receiveMaximum
	if r := pk.Properties.ReceiveMaximum; r > 0 {
		s.window = min(int(r), receiveMaximum)
	}
	peerHost, peerPort := splitAddr(cl.Net.Conn.RemoteAddr())
	_, sockPort := splitAddr(cl.Net.Conn.LocalAddr())
	if !d.subopts {
		peerPort = 0
	}
	user := string(pk.Connect.Username)
	s.conn = &exhookv3.ConnInfo{
		Node: node, Clientid: pk.Connect.ClientIdentifier, Username: user,
		Peerhost: peerHost, Sockport: sockPort, Peerport: peerPort,
		ProtoName: string(pk.Connect.ProtocolName), ProtoVer: strconv.Itoa(int(pk.ProtocolVersion)),
		Keepalive: uint32(pk.Connect.Keepalive),
	}
	s.info = &exhookv3.ClientInfo{
		Node: node, Clientid: pk.Connect.ClientIdentifier, Username: user,
		Peerhost: peerHost, Sockport: sockPort, Peerport: peerPort,
		Protocol: "mqtt", Anonymous: true,
	}
	return s
}

func splitAddr(a net.Addr) (host string, port uint32) {
	h, p, err := net.SplitHostPort(a.String())
	if err != nil {
		return a.String(), 0
	}
	n, _ := strconv.ParseUint(p, 10, 16)
	return h, uint32(n)
}

// infoWithPassword is for client.authenticate, the only hook that gets it.
func (s *session) infoWithPassword() *exhookv3.ClientInfo {
	c := proto.CloneOf(s.info)
	c.Password = s.password
	return c
}

func (s *session) markAdded() { s.addedOnce.Do(func() { close(s.added) }) }
func (s *session) markUp()    { s.upOnce.Do(func() { close(s.up) }) }

// remember keeps a message that is sent to the client until it is acknowledged.
// It waits for room in the client's window, which holds up what else is queued for
// it; mochi's own window leaks until nothing is sent any more.
func (s *session) remember(id uint16, m *exhookv3.Message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, again := s.inflight[id]; !again && len(s.inflight) >= s.window && !s.resumes && !s.over; {
		s.room.Wait()
	}
	s.inflight[id] = m
}

// acked takes note of a PUBACK, PUBREC or PUBCOMP and returns the message that was
// acknowledged by it; nil if there is none, or it was before.
func (s *session) acked(pk packets.Packet) *exhookv3.Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	m, ok := s.inflight[pk.PacketID]
	if ok && pk.FixedHeader.Type == packets.Pubrec && pk.ReasonCode < packets.ErrUnspecifiedError.Code {
		s.inflight[pk.PacketID] = nil
		return m
	}
	delete(s.inflight, pk.PacketID)
	s.room.Broadcast()
	return m
}

// setResumes says whether mochi is resending what the session had queued. Then
// nobody reads acknowledgements, so nobody may wait for them.
func (s *session) setResumes(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.resumes = yes
	s.room.Broadcast()
}

// setOver wakes who waits for acknowledgements that will not come.
func (s *session) setOver() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	s.room.Broadcast()
}

// sentIDs lists the packet ids that wait for an acknowledgement.
func (s *session) sentIDs() map[uint16]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids := make(map[uint16]bool, len(s.inflight))
	for id := range s.inflight {
		ids[id] = true
	}
	return ids
}

// keyedLock is a mutex per client id, so that two connections of one client are
// let in one after the other.
type keyedLock struct {
	mu   sync.Mutex
	held map[string]chan struct{}
}

func (k *keyedLock) lock(key string) {
	for {
		k.mu.Lock()
		if k.held == nil {
			k.held = map[string]chan struct{}{}
		}
		free, busy := k.held[key]
		if !busy {
			k.held[key] = make(chan struct{})
			k.mu.Unlock()
			return
		}
		k.mu.Unlock()
		<-free
	}
}

func (k *keyedLock) unlock(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	close(k.held[key])
	delete(k.held, key)
}
