"""The program that owns one device: it pulls jobs, draws their pictures with LoRAs, stores them and says so."""
