// Package soak keeps attested connections busy for as long as it is told to, and
// looks for what shows only after a while: a wrong acceptance, a goroutine that
// stays, memory that grows. It holds tests alone.
//
//	go test -race -run TestSoak -v -timeout 90m ./internal/soak -soak 60m
//	go test -run TestIdleFleet -v -timeout 10m ./internal/soak -idle 10000 -idle-every 60s -idle-for 3m
package soak
