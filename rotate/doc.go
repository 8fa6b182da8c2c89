// Package rotate serves certificates that are renewed in files while the program
// runs. What it gives fits Config.GetIdentities of package expat and the callbacks of
// [crypto/tls].
package rotate
