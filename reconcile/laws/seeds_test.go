package laws

import (
	"strings"
	"testing"
)

// Lives in which a law was once broken.
func TestSeedsThatOnceBrokeALaw(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		profile lawProfile
		seed    uint64
	}{
		{"an archive comes near the clock while a run is under way", lawHeld, 613},
		{"a size is edited while the restore of its guest is under way", lawTwice, 802},
	} {
		if broken, story, _ := lawScenario(t, c.seed, t.TempDir(), c.profile); len(broken) > 0 {
			t.Errorf("%s (seed %d): %s\n%s", c.name, c.seed, strings.Join(broken, "\n"), story)
		}
	}
}
