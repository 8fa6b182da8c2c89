//go:build !race

package proxy

// silentClients is how many clients say nothing, or next to nothing.
const silentClients = 2000
