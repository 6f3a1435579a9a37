"""The running microservice: enrol, verify and identify faces over HTTP."""
