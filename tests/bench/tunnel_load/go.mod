module postern/tunnel_load

go 1.21
