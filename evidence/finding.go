package evidence

// Finding is one check of a platform's own policy that verified Evidence fails:
// what the common vocabulary of [Claims] cannot say, such as the versions of a
// processor's firmware. Whoever judges Claims refuses those with a Finding.
type Finding struct {
	Check string // name of the check, as the platform's package lists them
	Want  string
	Got   string
}
