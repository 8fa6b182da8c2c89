package main

// Example runs the program. Each line is printed after what it tells of, so the
// order is always this.
func Example() {
	main()
	// Output:
	// payroll: the server is affirming and runs [map[algorithm:sha-256 digest:e6f0a1fbb43c89196dcfcbef85908f19ab4c5f7cc4f4c452284697757683d7ef name:program]]
	// payroll: HTTP/3.0 200 OK: you are affirming and run [map[algorithm:sha-256 digest:60f91a742458ae606572f40dd7df0a128e554acb023f6989fe5148872648fc56 name:program]]
	// payroll: the server is asked anew and is affirming
	// payroll: HTTP/3.0 200 OK: you are affirming and run [map[algorithm:sha-256 digest:60f91a742458ae606572f40dd7df0a128e554acb023f6989fe5148872648fc56 name:program]]
	// payroll: the server is asked anew and is affirming
	// stranger: the server gives us no connection: attestation rejected
}
