// Package gatewayv1 contains the generated messages and clients of the gateway; the files of proto/ document them.
package gatewayv1
