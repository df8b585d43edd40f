module github.com/powerstream-gateway/powerstream-gateway/tests/bench/clients/go

go 1.26.0

require (
	github.com/powerstream-gateway/powerstream-gateway/client-examples/go v0.0.0
	google.golang.org/grpc v1.84.0
)

require (
	golang.org/x/net v0.57.0 // indirect
	golang.org/x/sys v0.47.0 // indirect
	golang.org/x/text v0.40.0 // indirect
	google.golang.org/genproto/googleapis/rpc v0.0.0-20260706201446-f0a921348800 // indirect
	google.golang.org/protobuf v1.36.12 // indirect
)

// Its stubs.
replace github.com/powerstream-gateway/powerstream-gateway/client-examples/go => ../../../../client-examples/go
