package main

// Example runs the program. Each answer is printed after what the server has
// logged, so the order is always this.
func Example() {
	main()
	// Output:
	// payroll asks for /status: the server is affirming, answers HTTP/2.0 200 OK: "you are affirming: fine"
	// payroll asks for /keys: the server is affirming, answers HTTP/2.0 200 OK: "you are affirming: the keys"
	// reports asks for /status: the server is affirming, answers HTTP/2.0 200 OK: "you are affirming: fine"
	//   the server logs: expathttp: the peer does not meet a demand: claim "measurements" of environment "simulated" is not [{"algorithm":"sha-256","digest":"60f91a742458ae606572f40dd7df0a128e554acb023f6989fe5148872648fc56","name":"program"}]
	// reports asks for /keys: the server is affirming, answers HTTP/2.0 403 Forbidden: "Forbidden\n"
}
