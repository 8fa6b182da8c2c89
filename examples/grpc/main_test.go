package main

// Example runs the program. Each answer is printed after what the server has
// logged, so the order is always this.
func Example() {
	main()
	// Output:
	// reports calls /example.Vault/Status: the server is affirming, answers OK "you are affirming"
	//   the server denies /example.Vault/Keys: expatgrpc: the peer does not meet a demand: claim "measurements" of environment "simulated" is not [{"algorithm":"sha-256","digest":"60f91a742458ae606572f40dd7df0a128e554acb023f6989fe5148872648fc56","name":"program"}]
	// reports calls /example.Vault/Keys: the server is affirming, answers PermissionDenied ""
	// payroll calls /example.Vault/Status: the server is affirming, answers OK "you are affirming"
	// payroll calls /example.Vault/Keys: the server is affirming, answers OK "the keys"
	// payroll watches: "nothing new"
	// payroll is being debugged, its stream ends: Unavailable
	// payroll calls /example.Vault/Status: the server is affirming, answers OK "you are affirming"
}
