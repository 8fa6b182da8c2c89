package main

// Example runs the program.
func Example() {
	main()
	// Output:
	// https://verifier.example says by its policy "vault" that the server is affirming
}
