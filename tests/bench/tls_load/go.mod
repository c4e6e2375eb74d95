module postern/tls_load

go 1.21
