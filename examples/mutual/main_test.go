package main

// Example runs the program.
func Example() {
	main()
	// Output:
	// teller: the ledger is affirming and says "you are affirming"
	// intruder: no connection: the peer says "attestation rejected"
}
