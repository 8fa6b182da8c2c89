// Package config reads the configuration file of expat proxy: YAML, or the JSON that
// is a subset of it, by one strict format whose JSON Schema is [Schema].
//
//	data:     file ──> decode (position of every value) ──> File ──> check ──> File, complete and consistent
//
// An unknown field, a field given twice, an empty value, a value of another type and
// values that contradict each other are errors; [Load] reports all of a file at once,
// each with line and column. What weakens the sidecar is a field whose name says what
// is lost.
package config

import "time"

// Version is that of the format.
const Version = 1

// The values of Proxy.Side and Proxy.Mode.
const (
	Server = "server" // attested outside, plain inside
	Client = "client" // plain inside, attested outside

	TCP  = "tcp"
	HTTP = "http"
)

// ProxyV2 is the value of Proxy.ProxyProtocol.
const ProxyV2 = "v2"

// Defaults.
const (
	DefaultHandshake       = 10 * time.Second
	DefaultConnect         = 5 * time.Second
	DefaultIdle            = 5 * time.Minute
	DefaultResponse        = time.Minute
	DefaultDrain           = 30 * time.Second
	DefaultResultLifetime  = time.Minute
	DefaultConnections     = 4096
	DefaultExchanges       = 256
	DefaultPerClient       = 256
	DefaultNewPerSecond    = 100
	DefaultReload          = 2 * time.Second
	maxConnections         = 1 << 20
	lowestReattest         = time.Second
	lowestTimeout          = 10 * time.Millisecond
	lowestInterval         = 10 * time.Millisecond
	highestResultLifetime  = time.Hour
	defaultResultIssuer    = "expat-proxy"
	defaultVerifierName    = "expat-verifier"
	defaultTPM             = "/dev/tpmrm0"
	defaultLogFormat       = "json"
	defaultLogLevel        = "info"
	maxProxies, maxTargets = 64, 64
	maxMembers             = 16
)

// File is a configuration. Tag doc describes a field, enum lists what it can be.
type File struct {
	Version  int      `yaml:"version" doc:"Version of the format: 1."`
	Log      Log      `yaml:"log" doc:"What is logged to standard error."`
	Admin    *Admin   `yaml:"admin" doc:"Listener for health, readiness and metrics. Left out: there is none."`
	Shutdown Shutdown `yaml:"shutdown" doc:"How the sidecar ends on SIGTERM or an interrupt."`
	Reload   Reload   `yaml:"reload" doc:"How changes of files are noticed."`
	Proxies  []Proxy  `yaml:"proxies" doc:"What is forwarded."`
}

// Log is the section log.
type Log struct {
	Format string `yaml:"format" enum:"json,text" doc:"Default: json, one object a line."`
	Level  string `yaml:"level" enum:"debug,info,warn,error" doc:"Default: info."`
}

// Admin is the section admin.
type Admin struct {
	Listen    string `yaml:"listen" doc:"IP:PORT, or unix:/PATH."`
	OnNetwork bool   `yaml:"on_network" doc:"Allows an address other than loopback: whoever reaches it can read the metrics."`
}

// Shutdown is the section shutdown.
type Shutdown struct {
	Delay   time.Duration `yaml:"delay" doc:"Time between not ready and closed listeners, for load balancers to notice. Default: none."`
	Timeout time.Duration `yaml:"timeout" doc:"Time for open connections to end, after which they are cut. Default: 30s."`
}

// Reload is the section reload.
type Reload struct {
	Interval time.Duration `yaml:"interval" doc:"How often the content of all files is compared. Default: 2s."`
}

// Proxy is one listener and where it leads.
type Proxy struct {
	Name                    string        `yaml:"name" doc:"In logs and metrics: 1 to 40 of a-z, 0-9 and -."`
	Side                    string        `yaml:"side" enum:"server,client" doc:"server: attested outside, plain inside. client: plain inside, attested outside."`
	Mode                    string        `yaml:"mode" enum:"tcp,http" doc:"Both ends need the same. Default: tcp."`
	Listen                  string        `yaml:"listen" doc:"IP:PORT, port 0 for any free one, or unix:/PATH."`
	PlainListenerOnNetwork  bool          `yaml:"plain_listener_on_network" doc:"Client side: allows a listener on an address other than loopback. What is lost: whoever reaches it speaks as this side."`
	Upstreams               []string      `yaml:"upstreams" doc:"HOST:PORT or unix:/PATH, taken in turn; one that does not answer is passed over. Reloaded."`
	PlainUpstreamsOnNetwork bool          `yaml:"plain_upstreams_on_network" doc:"Server side, without backend_tls: allows upstreams that are not loopback. What is lost: whoever is on that network reads and writes plain text."`
	ServerName              string        `yaml:"server_name" doc:"Client side: DNS name or IP address that upstreams must prove. Reloaded."`
	Roots                   string        `yaml:"roots" doc:"File of X.509 roots (PEM) for certificates of peers. Reloaded."`
	Identity                *Identity     `yaml:"identity" doc:"What this side shows."`
	Verify                  *Verify       `yaml:"verify" doc:"What peers must show. Left out: they show nothing."`
	Reattest                bool          `yaml:"reattest" doc:"Agrees to re-attestation on open connections, where the peer does too."`
	ReattestEvery           time.Duration `yaml:"reattest_every" doc:"How often peers are asked anew. Implies reattest, and demands it of peers."`
	BackendTLS              *BackendTLS   `yaml:"backend_tls" doc:"Server side: TLS to the upstreams. Left out: plain."`
	ProxyProtocol           string        `yaml:"proxy_protocol" enum:"v2" doc:"Server side, mode tcp: tell upstreams the client's address in a PROXY protocol header; TLV 0xE0 holds its trust tier."`
	Result                  *Result       `yaml:"result" doc:"Mode http: signs the verdict on the peer into the header Expat-Result. Left out: there is no such header."`
	Limits                  Limits        `yaml:"limits" doc:"Reloaded, except exchanges."`
	Timeouts                Timeouts      `yaml:"timeouts" doc:"Times after which this side gives up."`
}

// Identity is what a side shows.
type Identity struct {
	Attester       string   `yaml:"attester" doc:"simulated, tpm, sevsnp, tdx, or several such as sevsnp+tpm. Left out: this side shows its certificate alone."`
	State          string   `yaml:"state" doc:"State directory of expat serve and expat tpm enroll, which holds keys, and a CA for TEST certificates."`
	Names          []string `yaml:"names" doc:"With state: names and IP addresses in the certificate. Default: localhost, 127.0.0.1 and ::1."`
	ExposeTestKeys bool     `yaml:"expose_test_keys" doc:"With state: allows a listener on an address other than loopback. What is lost: the test keys protect nothing."`
	Certificate    string   `yaml:"certificate" doc:"File of a certificate chain (PEM), in place of state. Reloaded."`
	Key            string   `yaml:"key" doc:"File of its private key (PEM). Reloaded."`
	TPM            string   `yaml:"tpm" doc:"Address of the TPM: a device, unix:PATH or tcp:HOST:PORT. Default: /dev/tpmrm0."`
	Passport       *Remote  `yaml:"passport" doc:"Shows what a Verifier elsewhere says of the attester's Evidence, in place of the Evidence."`
	PassportCached bool     `yaml:"passport_cached" doc:"With passport: asks beforehand and shows the same on every connection. Peers need key_bound."`
}

// Verify says who judges peers: exactly one of its fields is given.
type Verify struct {
	Policy   string    `yaml:"policy" doc:"Policy file (docs/policy.md). Reloaded."`
	Remote   *Remote   `yaml:"remote" doc:"A Verifier elsewhere (docs/remote-verifier.md)."`
	Quorum   *Quorum   `yaml:"quorum" doc:"Several Verifiers, of which some must agree (docs/verifiers.md)."`
	Passport *Passport `yaml:"passport" doc:"Peers show what a Verifier said of them, in place of Evidence."`
}

// Quorum is several Verifiers that judge the same Evidence.
type Quorum struct {
	Need    int      `yaml:"need" doc:"How many must find it affirming."`
	Members []Member `yaml:"members" doc:"Who is asked; each has policy or remote."`
}

// Member is one Verifier of a quorum.
type Member struct {
	Name   string  `yaml:"name" doc:"In results and logs: 1 to 40 of a-z, 0-9 and -."`
	Policy string  `yaml:"policy" doc:"Policy file. Reloaded."`
	Remote *Remote `yaml:"remote" doc:"A Verifier elsewhere."`
}

// Passport says whose word about peers counts.
type Passport struct {
	Keys               string        `yaml:"keys" doc:"Keys that sign results (JWK Set): a file, read again where it changes, or an https URL, fetched every 15m and for a key that is new."`
	Roots              string        `yaml:"roots" doc:"File of X.509 roots (PEM) for a URL in keys. Default: the system's."`
	Issuer             string        `yaml:"issuer" doc:"Who must have issued the results. Default: expat-verifier."`
	AllowUnnamedIssuer bool          `yaml:"allow_unnamed_issuer" doc:"Takes results without issuer, as Veraison's services make them."`
	Audience           string        `yaml:"audience" doc:"aud that results must have. Left out: they must have none."`
	KeyBound           bool          `yaml:"key_bound" doc:"Takes results that were made for the peer's key and not for the connection. What is lost: they say what the peer was then, not what it is."`
	MaxAge             time.Duration `yaml:"max_age" doc:"Time since a result was made, at least 1s. Default: 1h."`
}

// Remote is a Verifier elsewhere.
type Remote struct {
	URL                 string   `yaml:"url" doc:"Base of its challenge-response API, https."`
	PlainHTTPToLoopback bool     `yaml:"plain_http_to_loopback" doc:"Allows http to an IP address of this machine."`
	Roots               string   `yaml:"roots" doc:"File of X.509 roots (PEM) for it. Default: the system's."`
	Certificate         string   `yaml:"certificate" doc:"File of the certificate chain (PEM) to show it. Read again for each connection to it."`
	Key                 string   `yaml:"key" doc:"File of its private key (PEM)."`
	Token               string   `yaml:"token" doc:"File of a bearer token to send it. Read again for each request."`
	Keys                string   `yaml:"keys" doc:"Keys that sign its results (JWK Set): a file, read again where it changes, or an https URL, fetched every 15m and for a key that is new."`
	Issuer              string   `yaml:"issuer" doc:"Who must have issued the results. Default: expat-verifier."`
	AllowUnnamedIssuer  bool     `yaml:"allow_unnamed_issuer" doc:"Takes results without issuer, as Veraison's services make them."`
	Audience            string   `yaml:"audience" doc:"aud that results must have. Left out: they must have none."`
	MediaTypes          []string `yaml:"media_types" doc:"Of the Evidence that it appraises. In identity.passport by default those of the attester."`
	ReportDataTypes     []string `yaml:"report_data_types" doc:"Those of media_types whose nonce is the report data, as Veraison's services need it."`
	SendKey             bool     `yaml:"send_key" doc:"For expat verifier serve, which demands the key beside the nonce."`
	AcceptUnattestedKey bool     `yaml:"accept_unattested_key" doc:"Takes results that do not state the peer's key. What is lost: that the attested environment holds it."`
}

// BackendTLS is TLS to the upstreams of the server side.
type BackendTLS struct {
	Roots       string `yaml:"roots" doc:"File of X.509 roots (PEM) for upstreams. Reloaded."`
	ServerName  string `yaml:"server_name" doc:"Name that they must prove."`
	Certificate string `yaml:"certificate" doc:"File of the certificate chain (PEM) to show them. Reloaded."`
	Key         string `yaml:"key" doc:"File of its private key (PEM). Reloaded."`
}

// Result is the signed header.
type Result struct {
	Key      string        `yaml:"key" doc:"File of the P-256 private key (PEM, PKCS #8) that signs."`
	Issuer   string        `yaml:"issuer" doc:"iss of the token. Default: expat-proxy."`
	Audience string        `yaml:"audience" doc:"aud of the token. Left out: none."`
	Lifetime time.Duration `yaml:"lifetime" doc:"Time from iat to exp, at most 1h. Default: 1m."`
}

// Limits bound what peers can take.
type Limits struct {
	Connections           int `yaml:"connections" doc:"Open at a time. Default: 4096."`
	ConnectionsPerClient  int `yaml:"connections_per_client" doc:"Open at a time from one IPv4 address or IPv6 /64. Default: 256 on the server side, no limit on the client side."`
	NewPerSecondPerClient int `yaml:"new_per_second_per_client" doc:"New connections a second from one, and as many at once. Default: 100 on the server side, no limit on the client side."`
	Exchanges             int `yaml:"exchanges" doc:"Server side: exchanges worked on at a time; 16 times as many are held. Default: 256."`
}

// Timeouts bound what is waited for.
type Timeouts struct {
	Handshake time.Duration `yaml:"handshake" doc:"TLS handshake and exchange together, and the header of a request. Default: 10s."`
	Connect   time.Duration `yaml:"connect" doc:"To connect to one upstream, TLS to it included. Default: 5s."`
	Idle      time.Duration `yaml:"idle" doc:"Silence in both directions until a connection is closed. Default: 5m."`
	Response  time.Duration `yaml:"response" doc:"Mode http: until the upstream answers a request with a header, from the last byte of the request. Default: 1m."`
}
