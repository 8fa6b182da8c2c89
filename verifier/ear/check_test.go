package ear

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/x509"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/expat-go/expat/attestation"
)

// submod is the only submodule of a payload made by party.payload.
func submod(m map[string]any) map[string]any {
	return m["submods"].(map[string]any)["tee"].(map[string]any)
}

// H-4, H-5, B-15: one change to a good payload, signed by the right key.
func TestCheckRefusesClaims(t *testing.T) {
	t.Parallel()
	iat := start.Unix()
	malformed := attestation.ErrMalformed
	for name, c := range map[string]struct {
		change func(m map[string]any)
		want   error
	}{
		"no profile":           {func(m map[string]any) { delete(m, "eat_profile") }, malformed},
		"unknown profile":      {func(m map[string]any) { m["eat_profile"] = "tag:ietf.org,2026:rats/ear#03" }, ErrProfile},
		"profile not a string": {func(m map[string]any) { m["eat_profile"] = 1 }, malformed},
		"no issuer":            {func(m map[string]any) { delete(m, "iss") }, ErrIssuer},
		"other issuer":         {func(m map[string]any) { m["iss"] = issuerName + "/" }, ErrIssuer},
		"issuer a list":        {func(m map[string]any) { m["iss"] = []string{issuerName} }, malformed},
		"audience of others":   {func(m map[string]any) { m["aud"] = "them" }, ErrAudience},
		"audience empty":       {func(m map[string]any) { m["aud"] = []string{} }, ErrAudience},
		"audience null":        {func(m map[string]any) { m["aud"] = nil }, malformed},
		"audience a number":    {func(m map[string]any) { m["aud"] = []any{1} }, malformed},
		"no iat":               {func(m map[string]any) { delete(m, "iat") }, malformed},
		"iat a string":         {func(m map[string]any) { m["iat"] = "0" }, malformed},
		"iat a fraction":       {func(m map[string]any) { m["iat"] = float64(iat) + 0.5 }, malformed},
		"iat negative":         {func(m map[string]any) { m["iat"] = -1 }, malformed},
		"iat beyond time":      {func(m map[string]any) { m["iat"], m["exp"] = maxTime+1, maxTime+2 }, malformed},
		"iat null":             {func(m map[string]any) { m["iat"] = nil }, malformed},
		"iat old": {func(m map[string]any) {
			m["iat"] = iat - int64((DefaultMaxAge+DefaultSkew)/time.Second)
		}, ErrExpired},
		"iat old, no exp": {func(m map[string]any) {
			m["iat"] = iat - int64((DefaultMaxAge+DefaultSkew)/time.Second)
			delete(m, "exp")
		}, ErrExpired},
		"iat in the future": {func(m map[string]any) { m["iat"] = iat + 31 }, ErrFuture},
		"nbf in the future": {func(m map[string]any) { m["nbf"] = iat + 31 }, ErrFuture},
		"nbf a string":      {func(m map[string]any) { m["nbf"] = "now" }, malformed},
		"expired":           {func(m map[string]any) { m["iat"], m["exp"] = iat-10, iat }, ErrExpired},
		"exp before iat":    {func(m map[string]any) { m["exp"] = iat }, malformed},
		"exp null":          {func(m map[string]any) { m["exp"] = nil }, malformed},
		"nonce a list":      {func(m map[string]any) { m["eat_nonce"] = []any{m["eat_nonce"]} }, malformed},
		"nonce empty":       {func(m map[string]any) { m["eat_nonce"] = "" }, malformed},
		"no verifier id":    {func(m map[string]any) { delete(m, "ear.verifier-id") }, malformed},
		"no developer":      {func(m map[string]any) { m["ear.verifier-id"] = map[string]any{"build": "b"} }, malformed},
		"no build":          {func(m map[string]any) { m["ear.verifier-id"] = map[string]any{"developer": "d"} }, malformed},
		"no submods":        {func(m map[string]any) { delete(m, "submods") }, malformed},
		"empty submods":     {func(m map[string]any) { m["submods"] = map[string]any{} }, malformed},
		"unnamed submodule": {func(m map[string]any) { m["submods"] = map[string]any{"": submod(m)} }, malformed},
		"submodule null":    {func(m map[string]any) { m["submods"] = map[string]any{"tee": nil} }, malformed},
		"17 submodules": {func(m map[string]any) {
			for i := range 16 {
				m["submods"].(map[string]any)[strings.Repeat("x", i+1)] = submod(m)
			}
		}, malformed},
		"submodule without status": {func(m map[string]any) { delete(submod(m), "ear.status") }, malformed},
		"second without status": {func(m map[string]any) {
			second := maps.Clone(submod(m))
			delete(second, "ear.status")
			m["submods"].(map[string]any)["tpm"] = second
		}, malformed},
		"status a number":   {func(m map[string]any) { submod(m)["ear.status"] = 2 }, malformed},
		"status in digits":  {func(m map[string]any) { submod(m)["ear.status"] = "2" }, malformed},
		"status in capital": {func(m map[string]any) { submod(m)["ear.status"] = "Affirming" }, malformed},
		"none":              {func(m map[string]any) { submod(m)["ear.status"] = "none" }, ErrTier},
		"warning":           {func(m map[string]any) { submod(m)["ear.status"] = "warning" }, ErrTier},
		"contraindicated":   {func(m map[string]any) { submod(m)["ear.status"] = "contraindicated" }, ErrTier},
		"vector worse than status": {func(m map[string]any) {
			submod(m)["ear.trustworthiness-vector"] = map[string]any{"hardware": 96}
		}, ErrTier},
		"vector's warning": {func(m map[string]any) {
			submod(m)["ear.trustworthiness-vector"] = map[string]any{"configuration": -96}
		}, ErrTier},
		"vector null":         {func(m map[string]any) { submod(m)["ear.trustworthiness-vector"] = nil }, malformed},
		"vector claim true":   {func(m map[string]any) { submod(m)["ear.trustworthiness-vector"] = map[string]any{"hardware": true} }, malformed},
		"vector claim null":   {func(m map[string]any) { submod(m)["ear.trustworthiness-vector"] = map[string]any{"hardware": nil} }, malformed},
		"vector claim 128":    {func(m map[string]any) { submod(m)["ear.trustworthiness-vector"] = map[string]any{"hardware": 128} }, malformed},
		"vector claim -129":   {func(m map[string]any) { submod(m)["ear.trustworthiness-vector"] = map[string]any{"hardware": -129} }, malformed},
		"vector claim a name": {func(m map[string]any) { submod(m)["ear.trustworthiness-vector"] = map[string]any{"hardware": "2"} }, malformed},
		"unknown category":    {func(m map[string]any) { submod(m)["ear.trustworthiness-vector"] = map[string]any{"software": 96} }, malformed},
		"policy a list":       {func(m map[string]any) { submod(m)["ear.appraisal-policy-id"] = []string{"p"} }, malformed},
		"evidence a string":   {func(m map[string]any) { submod(m)["ear.veraison.annotated-evidence"] = "x" }, malformed},
		"policy claims null":  {func(m map[string]any) { submod(m)["ear.veraison.policy-claims"] = nil }, malformed},
		"instance a number":   {func(m map[string]any) { submod(m)["ear.veraison.policy-claims"] = map[string]any{instanceClaim: 1} }, malformed},
		"key attestation a string": {func(m map[string]any) {
			submod(m)["ear.veraison.key-attestation"] = "x"
		}, malformed},
		"no akpub":        {func(m map[string]any) { submod(m)["ear.veraison.key-attestation"] = map[string]any{} }, malformed},
		"akpub padded":    {func(m map[string]any) { submod(m)["ear.veraison.key-attestation"] = map[string]any{"akpub": "AA=="} }, malformed},
		"akpub with line": {func(m map[string]any) { submod(m)["ear.veraison.key-attestation"] = map[string]any{"akpub": "AA\nAA"} }, malformed},
		"akpub too long": {func(m map[string]any) {
			submod(m)["ear.veraison.key-attestation"] = map[string]any{"akpub": base64url.EncodeToString(make([]byte, maxAttestedKey+1))}
		}, malformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t)
			m := p.payload(t)
			_, err := p.check(t, p.sign(t, goodHeader, encode(t, m)))
			require.NoError(t, err, "unchanged")
			c.change(m)
			e, err := p.check(t, p.sign(t, goodHeader, encode(t, m)))
			require.Nil(t, e)
			require.ErrorIs(t, err, c.want)
			if c.want != malformed {
				requireNo(t, err, c.want)
			}
		})
	}
}

// The other side of each limit, and what the draft leaves open.
func TestCheckAccepts(t *testing.T) {
	t.Parallel()
	iat := start.Unix()
	for name, change := range map[string]func(m map[string]any){
		"iat at the skew": func(m map[string]any) { m["iat"] = iat + 30 },
		"nbf at the skew": func(m map[string]any) { m["nbf"] = iat + 30 },
		"iat at the maximum age": func(m map[string]any) {
			m["iat"] = iat - int64((DefaultMaxAge+DefaultSkew)/time.Second) + 1
		},
		"last second of exp": func(m map[string]any) { m["iat"], m["exp"] = iat-10, iat+1 },
		"no exp":             func(m map[string]any) { delete(m, "exp") },
		"exp far away":       func(m map[string]any) { m["exp"] = maxTime },
		"no nonce":           func(m map[string]any) { delete(m, "eat_nonce") },
		"no vector":          func(m map[string]any) { delete(submod(m), "ear.trustworthiness-vector") },
		"empty vector":       func(m map[string]any) { submod(m)["ear.trustworthiness-vector"] = map[string]any{} },
		"best of a claim":    func(m map[string]any) { submod(m)["ear.trustworthiness-vector"] = map[string]any{"hardware": 31} },
		"no policy":          func(m map[string]any) { delete(submod(m), "ear.appraisal-policy-id") },
		"no key attestation": func(m map[string]any) { delete(submod(m), "ear.veraison.key-attestation") },
		"unknown claims":     func(m map[string]any) { m["jti"], submod(m)["x"] = 1, nil },
		"16 submodules": func(m map[string]any) {
			for i := range 15 {
				m["submods"].(map[string]any)[strings.Repeat("x", i+1)] = submod(m)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := newParty(t)
			m := p.payload(t)
			change(m)
			e, err := p.check(t, p.sign(t, goodHeader, encode(t, m)))
			require.NoError(t, err)
			require.False(t, e.Expires().After(e.IssuedAt().Add(DefaultMaxAge+DefaultSkew)))
		})
	}
}

func TestCheckRefusesHeaders(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	payload := encode(t, p.payload(t))
	malformed := attestation.ErrMalformed
	for name, c := range map[string]struct {
		header string
		want   error
	}{
		"bare":               {`{"alg":"ES256"}`, nil},
		"typ in small":       {`{"alg":"ES256","typ":"jwt"}`, nil},
		"typ eat+jwt":        {`{"alg":"ES256","typ":"eat+jwt"}`, nil},
		"typ media type":     {`{"alg":"ES256","typ":"application/eat+jwt"}`, nil},
		"none":               {`{"alg":"none"}`, ErrAlgorithm},
		"ES384":              {`{"alg":"ES384"}`, ErrAlgorithm},
		"es256":              {`{"alg":"es256"}`, ErrAlgorithm},
		"no alg":             {`{"typ":"JWT"}`, malformed},
		"ALG":                {`{"ALG":"ES256"}`, malformed},
		"alg a list":         {`{"alg":["ES256"]}`, malformed},
		"alg twice":          {`{"alg":"ES256","alg":"ES256"}`, malformed},
		"alg twice, escaped": {`{"alg":"ES256","\u0061lg":"none"}`, malformed},
		"other typ":          {`{"alg":"ES256","typ":"at+jwt"}`, malformed},
		"typ null":           {`{"alg":"ES256","typ":null}`, malformed},
		"kid empty":          {`{"alg":"ES256","kid":""}`, malformed},
		"kid a number":       {`{"alg":"ES256","kid":1}`, malformed},
		"kid too long":       {`{"alg":"ES256","kid":"` + strings.Repeat("k", maxKeyID+1) + `"}`, malformed},
		"kid at the limit":   {`{"alg":"ES256","kid":"` + strings.Repeat("k", maxKeyID) + `"}`, ErrUnknownKey},
		"other kid":          {`{"alg":"ES256","kid":"k2"}`, ErrUnknownKey},
		"jwk":                {`{"alg":"ES256","jwk":"x"}`, malformed},
		"jku":                {`{"alg":"ES256","jku":"https://evil.example"}`, malformed},
		"crit":               {`{"alg":"ES256","crit":["exp"]}`, malformed},
		"not an object":      {`["ES256"]`, malformed},
		"null":               {`null`, malformed},
		"two":                {`{"alg":"ES256"}{"alg":"ES256"}`, malformed},
		"not JSON":           {`{"alg":"ES256"`, malformed},
		"not UTF-8":          {"{\"alg\":\"ES256\",\"kid\":\"\xff\"}", malformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := p.check(t, p.sign(t, c.header, payload))
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestCheckRefusesForms(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	good := string(p.issue(t, p.statement()))
	dot := strings.LastIndexByte(good, '.')
	malformed := attestation.ErrMalformed
	payload := p.payload(t)
	nested := func(depth int) string {
		claims := strings.Repeat("[", depth-1) + strings.Repeat("]", depth-1)
		return string(p.sign(t, goodHeader, `{"x":`+claims+","+encode(t, payload)[1:]))
	}
	for name, c := range map[string]struct {
		token string
		want  error
	}{
		"good":              {good, nil},
		"empty":             {"", malformed},
		"two parts":         {good[:dot], malformed},
		"four parts":        {good + ".", malformed},
		"five parts":        {good + ".x.y", malformed},
		"no signature":      {good[:dot+1], malformed},
		"truncated":         {good[:len(good)-4], malformed},
		"padded":            {good + "==", malformed},
		"line end":          {good + "\n", malformed},
		"line end inside":   {good[:10] + "\r\n" + good[10:], malformed},
		"space":             {" " + good, malformed},
		"standard alphabet": {strings.Repeat("+", 86) + good[dot:], malformed},
		"other signature":   {good[:dot+1] + strings.Repeat("A", 86), ErrSignature},
		"payload changed":   {good[:dot-8] + "AAAA" + good[dot-4:], ErrSignature},
		"at the depth":      {nested(maxDepth), nil},
		"too deep":          {nested(maxDepth + 1), malformed},
		"JSON list":         {`{"payload":"","signatures":[]}`, malformed},
		"payload no object": {string(p.sign(t, goodHeader, `[]`)), malformed},
		"duplicate iss":     {string(p.sign(t, goodHeader, `{"iss":"x",`+encode(t, payload)[1:])), malformed},
		"duplicate status": {string(p.sign(t, goodHeader,
			strings.Replace(encode(t, payload), `"ear.status":`, `"ear.status":"contraindicated","ear.status":`, 1))), malformed},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := p.check(t, []byte(c.token))
			require.ErrorIs(t, err, c.want)
		})
	}
}

func TestMaxSize(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	_, err := p.check(t, []byte(strings.Repeat("x", MaxSize)))
	require.EqualError(t, err, "malformed attestation: EAR: not three parts joined by dots")
	_, err = p.check(t, []byte(strings.Repeat("x", MaxSize+1)))
	require.EqualError(t, err, "malformed attestation: EAR: 65537 bytes, want at most 65536")
	payload := p.payload(t)
	payload["pad"] = strings.Repeat("x", 47<<10)
	token := p.sign(t, goodHeader, encode(t, payload))
	require.Greater(t, len(token), MaxSize-1024)
	_, err = p.check(t, token)
	require.NoError(t, err)
}

// The key in the hands of an attacker is the public one: it makes HS256 tokens that a
// library which obeys alg would verify with it.
func TestAlgorithmConfusion(t *testing.T) {
	t.Parallel()
	p := newParty(t)
	public, err := x509.MarshalPKIXPublicKey(p.key.Public())
	require.NoError(t, err)
	for _, secret := range [][]byte{public, append([]byte{4}, public...)} {
		signed := base64url.EncodeToString([]byte(`{"alg":"HS256","kid":"k1"}`)) + "." + base64url.EncodeToString([]byte(encode(t, p.payload(t))))
		mac := hmac.New(sha256.New, secret)
		mac.Write([]byte(signed))
		_, err = p.check(t, []byte(signed+"."+base64url.EncodeToString(mac.Sum(nil))))
		requireNo(t, err, ErrAlgorithm)
	}
	_, err = p.check(t, []byte(base64url.EncodeToString([]byte(`{"alg":"none"}`))+"."+base64url.EncodeToString([]byte(encode(t, p.payload(t))))+"."))
	requireNo(t, err, ErrAlgorithm)
	_, err = p.check(t, signWith(t, newKey(t), goodHeader, encode(t, p.payload(t))))
	requireNo(t, err, ErrSignature)
}
