package nats

// Permissions is for tests.
var Permissions = permissions
