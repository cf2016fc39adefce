package mockapi

func (s *Server) timeStamp(c *call) error { return notFound("") }
