package pvesim

import (
	"net/http"
	"strconv"
	"sync"
	"time"
)

// Sim is one simulated cluster (usually of one node) with its hosts.
// All methods are safe for concurrent use.
type Sim struct {
	mu sync.Mutex
	w  *world

	now       time.Time // the simulated clock as of the last settling
	real      time.Time // the real one at the same moment
	speed     float64
	duration  func(TaskInfo) time.Duration
	authDelay time.Duration
	settling  bool // effects happen right now
	hosts     int  // host commands that take their time right now

	guests   map[int]*guest
	storages map[string]*storage
	running  []*task
	locks    map[string]string // who has which lock
	acl      acl
	auths    map[string]*subject // by Authorization header
	tickets  map[string]string
	requests int
	writes   int
}

var _ http.RoundTripper = (*Sim)(nil)

func newSim(w *world) *Sim {
	s := &Sim{w: w, speed: 1, real: time.Now(), duration: defaultDuration, authDelay: 3 * time.Second}
	s.reset()
	return s
}

// reset empties what index fills.
func (s *Sim) reset() {
	s.guests = make(map[int]*guest)
	s.storages = make(map[string]*storage)
	s.running = nil
	s.locks = make(map[string]string)
	s.auths = make(map[string]*subject)
	s.tickets = make(map[string]string)
	s.acl = acl{s: s}
}

// Now is the simulated clock.
func (s *Sim) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	return s.now.In(s.w.Nodes[0].zone)
}

// Advance moves the simulated clock forward; what is due until then happens.
func (s *Sim) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	s.advance(d)
}

// SetSpeed sets how much faster than real time the clock runs while a task runs (1 is real).
func (s *Sim) SetSpeed(factor float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	if factor > 0 {
		s.speed = factor
	}
}

// SetDuration sets the rule for how long a task takes; nil restores the default.
func (s *Sim) SetDuration(rule func(TaskInfo) time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if rule == nil {
		rule = defaultDuration
	}
	s.duration = rule
}

// SetAuthDelay sets how long a 401 takes: three seconds as in PVE, unless set.
func (s *Sim) SetAuthDelay(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.authDelay = d
}

// Node is the first node's name.
func (s *Sim) Node() string { return s.w.Nodes[0].Name }

// Version is the version of PVE that the node says it has.
func (s *Sim) Version() string { return s.w.Version }

// TokenID is the agent's token, "felhom@pve!agent" in the fresh world.
func (s *Sim) TokenID() string {
	if s.w.Agent != "" {
		return s.w.Agent
	}
	return "felhom@pve!agent"
}

// TokenSecret is that token's secret; empty when the world has no such token.
func (s *Sim) TokenSecret() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if who := s.acl.subject(s.TokenID()); who != nil && who.token != nil {
		return who.token.Secret
	}
	return ""
}

// Tokens are all tokens of the world with their secrets, by full ID.
func (s *Sim) Tokens() map[string]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[string]string)
	for _, u := range s.w.Access.Users {
		for _, t := range u.Tokens {
			all[u.ID+"!"+t.ID] = t.Secret
		}
	}
	return all
}

// Requests counts the API requests that came over RoundTrip or ServeHTTP.
func (s *Sim) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// Writes counts those of them that were not GETs.
func (s *Sim) Writes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.writes
}

// Host is the machine of a node; it satisfies what privileged calls a host.
func (s *Sim) Host(node string) *Host { return &Host{s: s, node: node} }

// serial is the next number of the world, for what PVE draws at random.
func (s *Sim) serial() int {
	s.w.Serial++
	return s.w.Serial
}

func itoa(n int) string { return strconv.Itoa(n) }
