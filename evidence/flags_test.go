package evidence

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFlags(t *testing.T) {
	t.Parallel()
	require.Equal(t, []Flag{{"LOW", true}, {"MIDDLE", false}, {"HIGH", true}}, Flags(1<<63|1<<2|1, []string{"LOW", 32: "MIDDLE", 63: "HIGH"}))
	require.Empty(t, Flags(1, nil))
}
