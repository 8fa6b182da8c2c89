package main

// Example runs the program. The answer reaches the client after the server has
// reported, so the order is always this.
func Example() {
	main()
	// Output:
	// client: the peer is affirming, its key is born-inside, it runs
	//   [map[algorithm:sha-256 digest:e6f0a1fbb43c89196dcfcbef85908f19ab4c5f7cc4f4c452284697757683d7ef name:program]]
	// server: the peer is affirming, its key is born-inside, it runs
	//   [map[algorithm:sha-256 digest:60f91a742458ae606572f40dd7df0a128e554acb023f6989fe5148872648fc56 name:program]]
	// HTTP/1.1 200 OK
}
