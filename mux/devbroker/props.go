package devbroker

import (
	"strconv"
	"strings"

	"github.com/mochi-mqtt/server/v2/packets"

	exhookv3 "github.com/hookmux/hookmux/proto/emqx/exhook/v3"
)

// propList collects MQTT properties under EMQX's names.
type propList []*exhookv3.Property

func (l *propList) str(name, value string) {
	if value != "" {
		*l = append(*l, &exhookv3.Property{Name: name, Value: value})
	}
}

func (l *propList) num(name string, value uint64, present bool) {
	if present {
		l.str(name, strconv.FormatUint(value, 10))
	}
}

// mqttProps lists the properties of a packet from the client, all kinds
// alike: mochi has checked that each may stand where it stands. A topic alias is
// left out; it belongs to the connection and EMQX resolves it first.
func mqttProps(p packets.Properties) propList {
	var l propList
	l.num("Payload-Format-Indicator", uint64(p.PayloadFormat), p.PayloadFormatFlag)
	l.num("Message-Expiry-Interval", uint64(p.MessageExpiryInterval), p.MessageExpiryInterval > 0)
	l.str("Content-Type", p.ContentType)
	l.str("Response-Topic", p.ResponseTopic)
	l.str("Correlation-Data", string(p.CorrelationData))
	for _, id := range p.SubscriptionIdentifier {
		l.num("Subscription-Identifier", uint64(id), true)
	}
	l.num("Session-Expiry-Interval", uint64(p.SessionExpiryInterval), p.SessionExpiryIntervalFlag)
	l.str("Authentication-Method", p.AuthenticationMethod)
	l.str("Authentication-Data", string(p.AuthenticationData))
	l.num("Request-Problem-Information", uint64(p.RequestProblemInfo), p.RequestProblemInfoFlag)
	l.num("Request-Response-Information", uint64(p.RequestResponseInfo), p.RequestResponseInfo > 0)
	l.num("Receive-Maximum", uint64(p.ReceiveMaximum), p.ReceiveMaximum > 0)
	l.num("Topic-Alias-Maximum", uint64(p.TopicAliasMaximum), p.TopicAliasMaximum > 0)
	l.num("Maximum-Packet-Size", uint64(p.MaximumPacketSize), p.MaximumPacketSize > 0)
	return l
}

// clientProps splits a packet's properties into props and user_props as the
// dialect wants them.
func (d dialect) clientProps(p packets.Properties) (props, user []*exhookv3.Property) {
	l := mqttProps(p)
	switch {
	case len(p.User) == 0:
	case d.userProps:
		for _, u := range p.User {
			user = append(user, &exhookv3.Property{Name: u.Key, Value: u.Val})
		}
	default:
		l.str("User-Property", erlangPairs(p.User))
	}
	return l, user
}

// connackProps lists what EMQX tells a v5 client in its CONNACK.
func connackProps(p packets.Properties, withReceiveMaximum bool) []*exhookv3.Property {
	var l propList
	l.num("Wildcard-Subscription-Available", uint64(p.WildcardSubAvailable), true)
	l.num("Topic-Alias-Maximum", uint64(p.TopicAliasMaximum), true)
	l.num("Subscription-Identifier-Available", uint64(p.SubIDAvailable), true)
	l.num("Shared-Subscription-Available", uint64(p.SharedSubAvailable), true)
	l.num("Retain-Available", uint64(p.RetainAvailable), true)
	l.num("Maximum-Packet-Size", uint64(p.MaximumPacketSize), true)
	l.num("Receive-Maximum", uint64(p.ReceiveMaximum), withReceiveMaximum)
	l.str("Assigned-Client-Identifier", p.AssignedClientID)
	return l
}

// erlangPairs prints user properties as Erlang prints a list of pairs of binaries,
// which is how they travel before v3.
func erlangPairs(user []packets.UserProperty) string {
	pairs := make([]string, len(user))
	for i, u := range user {
		pairs[i] = "{" + erlangBinary(u.Key) + "," + erlangBinary(u.Val) + "}"
	}
	return "[" + strings.Join(pairs, ",") + "]"
}

// erlangBinary prints one binary: quoted if every byte is printable Latin-1,
// else as numbers.
func erlangBinary(s string) string {
	var q strings.Builder
	for i := range len(s) {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			q.WriteByte('\\')
			q.WriteByte(c)
		case c == '\n':
			q.WriteString(`\n`)
		case c == '\r':
			q.WriteString(`\r`)
		case c == '\t':
			q.WriteString(`\t`)
		case c >= 32 && c < 127, c >= 160:
			q.WriteByte(c)
		default:
			numbers := make([]string, len(s))
			for i := range len(s) {
				numbers[i] = strconv.Itoa(int(s[i]))
			}
			return "<<" + strings.Join(numbers, ",") + ">>"
		}
	}
	if s == "" {
		return "<<>>"
	}
	return `<<"` + q.String() + `">>`
}
