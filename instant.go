package expat

import "time"

// instant is a point in time by two clocks. The monotonic clock cannot be set, but
// stands still while the machine is suspended; the wall clock goes on then, but can
// be set. It is reached as soon as one of them says so: what holds for an hour never
// holds longer, and a clock that is set forward ends it early. The zero instant is
// never.
type instant struct {
	at   time.Time // has the monotonic reading
	wall time.Time // has none; by Config.TLS.Time
}

// lookEvery is how often a timer, which goes by the monotonic clock, looks at the
// other one.
const lookEvery = 10 * time.Second

func (p *prepared) instant() instant { return instant{time.Now(), p.now().Round(0)} }

func (i instant) never() bool { return i.at.IsZero() }

func (i instant) add(d time.Duration) instant { return instant{i.at.Add(d), i.wall.Add(d)} }

// earlier is what is reached first of the two.
func (i instant) earlier(o instant) instant {
	if i.never() || !o.never() && o.at.Before(i.at) {
		i.at = o.at
	}
	if i.wall.IsZero() || !o.wall.IsZero() && o.wall.Before(i.wall) {
		i.wall = o.wall
	}
	return i
}

// reached tells whether it is i or later.
func (p *prepared) reached(i instant) bool {
	if i.never() {
		return false
	}
	now := p.instant()
	return !now.at.Before(i.at) || !now.wall.Before(i.wall)
}

// wait is how long a timer may sleep before it looks whether i is reached.
func (p *prepared) wait(i instant) time.Duration {
	now := p.instant()
	return max(0, min(i.at.Sub(now.at), i.wall.Sub(now.wall), lookEvery))
}
