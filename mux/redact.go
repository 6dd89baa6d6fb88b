package mux

import (
	"fmt"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"
)

// Redaction is something that a provider is not shown.
type Redaction uint8

// The redactions.
const (
	RedactPassword       Redaction = iota // ClientInfo.password, and MQTT 5's Authentication-Data
	RedactPayload                         // of a message
	RedactUsername                        // of a client, and of a message's publisher
	RedactPeerhost                        // of a client, and of a message's publisher
	RedactCN                              // common name of a client's certificate
	RedactDN                              // distinguished name of a client's certificate
	RedactUserProperties                  // MQTT 5 user properties

	numRedactions = int(RedactUserProperties) + 1
)

var redactionNames = []string{"password", "payload", "username", "peerhost", "cn", "dn", "user_properties"}

func (r Redaction) String() string { return redactionNames[r] }

// RedactionNames lists the words that ParseRedaction takes.
func RedactionNames() []string { return redactionNames }

// ParseRedaction reads a word of the config.
func ParseRedaction(s string) (Redaction, error) {
	for i, n := range redactionNames {
		if s == n {
			return Redaction(i), nil
		}
	}
	return 0, fmt.Errorf("%q is nothing that can be redacted: use password, payload, username, peerhost, cn, dn or user_properties", s)
}

// redactions is a set of Redaction, a bit each.
type redactions uint8

func (r redactions) has(one Redaction) bool { return r>>one&1 != 0 }

// What can be redacted in the contract's shared messages, by field number.
var (
	inClientInfo = [...]redactions{3: 1 << RedactUsername, infoPassword: 1 << RedactPassword, 5: 1 << RedactPeerhost, infoCN: 1 << RedactCN, infoDN: 1 << RedactDN}
	inConnInfo   = [...]redactions{3: 1 << RedactUsername, 4: 1 << RedactPeerhost}
	inMessage    = [...]redactions{msgPayload: 1 << RedactPayload, msgHeaders: 1<<RedactUsername | 1<<RedactPeerhost}
)

// redactable is what each hook's request can have in it.
var redactable = func() (all [NumHooks]redactions) {
	for h := range hooks {
		row := &hooks[h]
		if row.message != 0 {
			all[h] |= union(inMessage[:])
		}
		if row.client.outer != row.message {
			all[h] |= union(row.clientFields())
		}
		if row.props != 0 || row.userProps != 0 {
			all[h] |= 1 << RedactUserProperties
		}
		if row.authenticating() {
			all[h] |= 1 << RedactPassword
		}
	}
	return all
}()

func union(sets []redactions) (all redactions) {
	for _, s := range sets {
		all |= s
	}
	return all
}

// clientFields is what can be redacted in the message that describes the client.
func (row *hookInfo) clientFields() []redactions {
	if row.conn {
		return inConnInfo[:]
	}
	return inClientInfo[:]
}

func (s *Spec) redacts(r Redaction) bool { return slices.Contains(s.Redact, r) }

// redactions is what a provider that is asked these hooks is not shown, hook
// by hook.
func (s *Spec) redactions(wants []HookSpec) (hide [NumHooks]redactions) {
	var all redactions
	for _, r := range s.Redact {
		all |= 1 << r
	}
	authenticates := !s.Observe && slices.ContainsFunc(wants, func(w HookSpec) bool { return w.Hook == ClientAuthenticate })
	if shownAll := s.Redact != nil && len(s.Redact) == 0; !shownAll && !authenticates {
		all |= 1 << RedactPassword
	}
	for h := range hide {
		hide[h] = all & redactable[h]
	}
	return hide
}

// Hidden is what a provider that is asked wants is not shown of an event of hook h.
func (s *Spec) Hidden(h Hook, wants []HookSpec) (hidden []Redaction) {
	hide := s.redactions(wants)[h]
	for r := range numRedactions {
		if hide.has(Redaction(r)) {
			hidden = append(hidden, Redaction(r))
		}
	}
	return hidden
}

// present is what of hide the event can have in it, as far as NewEvent has
// seen: mostly nothing, since EMQX sends a password with client.authenticate alone.
func (e *Event) present(hide redactions) redactions {
	hide &^= e.lacks
	// What else there is can be somewhere else, too.
	if e.seen&(1<<infoPassword) == 0 && !hooks[e.Hook].authenticating() {
		hide &^= 1 << RedactPassword
	}
	if e.seen&(1<<infoCN) == 0 {
		hide &^= 1 << RedactCN
	}
	if e.seen&(1<<infoDN) == 0 {
		hide &^= 1 << RedactDN
	}
	return hide
}

// redacted is body, the event's own or one with a newer value, without what hide
// names; body itself where nothing of it is there.
func (e *Event) redacted(body []byte, hide redactions) []byte {
	if hide = e.present(hide); hide == 0 {
		return body
	}
	return redact(e.Hook, body, hide)
}

// views are a notification as each of its receivers may see it, each made once.
type views struct {
	ev   *Event // which nobody else uses yet
	made []view
}

type view struct {
	hide redactions
	ev   Event
}

// shownTo is what the receiver may see.
func (v *views) shownTo(r *route) *Event {
	ev := v.without(r.hide)
	if ev != v.ev {
		r.p.stats.Redacted.Add(1)
	}
	return ev
}

func (v *views) without(hide redactions) *Event {
	if hide = v.ev.present(hide); hide == 0 {
		return v.ev
	}
	for i := range v.made {
		if v.made[i].hide == hide {
			return &v.made[i].ev
		}
	}
	body := redact(v.ev.Hook, v.ev.Body, hide)
	if len(body) == len(v.ev.Body) {
		v.ev.lacks |= hide
		return v.ev
	}
	ev := NewEvent(v.ev.Hook, body) // whose views into Body do not keep the broker's alive
	ev.told, ev.lacks = v.ev.told, v.ev.lacks|hide
	v.made = append(v.made, view{hide, ev})
	return &v.made[len(v.made)-1].ev
}

// redact is the hook's request body without what hide names: body itself if
// nothing of it is there. All else stays byte for byte, but for the lengths of what
// lies around it. A field goes whatever its wire type, since readers differ in what
// they make of a wrong one, and so does what cannot be read where it might be.
func redact(h Hook, body []byte, hide redactions) []byte {
	row := &hooks[h]
	return strip(body, func(num protowire.Number, typ protowire.Type, val []byte) ([]byte, bool) {
		switch num {
		case row.message:
			return stripMessage(typ, val, hide)
		case row.client.outer:
			fields := row.clientFields()
			if hide&union(fields) == 0 {
				return val, true
			}
			return strip(val, func(num protowire.Number, _ protowire.Type, val []byte) ([]byte, bool) {
				return val, int(num) >= len(fields) || fields[num]&hide == 0
			}), typ == protowire.BytesType
		case row.props:
			may := typ == protowire.BytesType
			return val, (!hide.has(RedactUserProperties) || may && !isNamed(val, userProperty)) &&
				(!hide.has(RedactPassword) || !row.authenticating() || may && !isNamed(val, authenticationData))
		case row.userProps:
			return val, !hide.has(RedactUserProperties)
		}
		return val, true
	})
}

// userProperty is what EMQX up to 5.8 calls the user properties, as one
// text, among the other properties.
const userProperty = "User-Property"

// authenticationData is the property with which MQTT 5's enhanced authentication
// sends what a password would be. CONNECT and CONNACK have it.
const authenticationData = "Authentication-Data"

// authenticating says whether the hook's properties are those of CONNECT or CONNACK.
func (row *hookInfo) authenticating() bool { return row.conn && row.props != 0 }

func stripMessage(typ protowire.Type, msg []byte, hide redactions) ([]byte, bool) {
	if hide&union(inMessage[:]) == 0 {
		return msg, true
	}
	return strip(msg, func(num protowire.Number, typ protowire.Type, val []byte) ([]byte, bool) {
		switch {
		case num == msgHeaders && typ != protowire.BytesType:
			return val, hide&inMessage[msgHeaders] == 0
		case num == msgHeaders:
			return val, !(hide.has(RedactUsername) && isNamed(val, "username") || hide.has(RedactPeerhost) && isNamed(val, "peerhost"))
		}
		return val, int(num) >= len(inMessage) || inMessage[num]&hide == 0
	}), typ == protowire.BytesType
}

// isNamed says whether pair, a header or a property, has that name, or may have
// it to some reader: any of several names counts, and so does what is unreadable.
func isNamed(pair []byte, name string) bool {
	found := false
	ok := eachField(pair, func(num protowire.Number, _ protowire.Type, val []byte) bool {
		found = found || num == 1 && string(val) == name
		return true
	})
	return found || !ok
}

// strip is b with the fields that f keeps, or with what f keeps of a field's
// value: b itself if f keeps all. What follows a field that cannot be read is left out.
func strip(b []byte, f func(num protowire.Number, typ protowire.Type, val []byte) (kept []byte, ok bool)) []byte {
	var out []byte
	same := true
	for at := 0; at < len(b); {
		num, typ, tag := protowire.ConsumeTag(b[at:])
		var val []byte
		n := tag
		if tag >= 0 && typ == protowire.BytesType {
			val, n = protowire.ConsumeBytes(b[at+tag:])
		} else if tag >= 0 {
			if n = protowire.ConsumeFieldValue(num, typ, b[at+tag:]); n >= 0 {
				val = b[at+tag:][:n]
			}
		}
		if n < 0 {
			if same {
				return b[:at:at]
			}
			return out
		}
		end := at + tag + n
		switch kept, ok := f(num, typ, val); {
		case ok && len(kept) == len(val):
			if !same {
				out = append(out, b[at:end]...)
			}
		default:
			if same {
				same, out = false, append(make([]byte, 0, len(b)), b[:at]...)
			}
			if ok {
				out = protowire.AppendBytes(append(out, b[at:at+tag]...), kept)
			}
		}
		at = end
	}
	if same {
		return b
	}
	return out
}
