package expatgrpc

import (
	"testing"

	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// kinds are what is compared: TLS as gRPC has it, attested once, and attested with
// re-attestation agreed, where bytes travel in frames.
var kinds = []string{"tls", "attested", "reattest"}

func benchmark(b *testing.B, kind string) (addr string, creds credentials.TransportCredentials) {
	cc, sc := configs()
	cc.Reattest, sc.Reattest = kind == "reattest", kind == "reattest"
	if kind == "tls" {
		_, addr = serveWith(b, credentials.NewTLS(sc.TLS), nil)
		return addr, credentials.NewTLS(cc.TLS)
	}
	_, addr = serve(b, sc, nil, open().ServerOptions()...)
	return addr, must(NewCredentials(cc))
}

// BenchmarkUnary is one small call on a connection that is open.
func BenchmarkUnary(b *testing.B) {
	for _, kind := range kinds {
		b.Run(kind, func(b *testing.B) {
			addr, creds := benchmark(b, kind)
			ch := dialWith(b, creds, addr)
			for b.Loop() {
				_, _, err := call(b, ch)
				require.NoError(b, err)
			}
		})
	}
}

// BenchmarkConnect is a connection and its first call.
func BenchmarkConnect(b *testing.B) {
	for _, kind := range kinds {
		b.Run(kind, func(b *testing.B) {
			addr, creds := benchmark(b, kind)
			for b.Loop() {
				ch := must(grpc.NewClient(addr, grpc.WithTransportCredentials(creds)))
				_, _, err := call(b, ch)
				require.NoError(b, err)
				require.NoError(b, ch.Close())
			}
		})
	}
}

// BenchmarkStream sends 1 MiB both ways over an open stream.
func BenchmarkStream(b *testing.B) {
	for _, kind := range kinds {
		b.Run(kind, func(b *testing.B) {
			addr, creds := benchmark(b, kind)
			s := begin(b, b.Context(), dialWith(b, creds, addr))
			b.SetBytes(2 << 20)
			message := string(make([]byte, 1<<20))
			for b.Loop() {
				_, err := exchange(s, message)
				require.NoError(b, err)
			}
			require.NoError(b, s.CloseSend())
			_ = s.RecvMsg(new(wrapperspb.StringValue))
		})
	}
}
