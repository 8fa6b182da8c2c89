package vectors

import (
	"testing"
	"testing/fstest"
)

func TestTmp(t *testing.T) {
	files, err := Generate()
	if err != nil {
		t.Fatal(err)
	}
	fsys := fstest.MapFS{}
	for n, d := range files {
		fsys[n] = &fstest.MapFile{Data: d}
	}
	r := Check(fsys)
	for _, p := range r.Problems {
		t.Error(p)
	}
	t.Log(r.Tallies)
}
