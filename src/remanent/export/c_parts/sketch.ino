// Runs a model on samples from the serial port: send @SAMPLE@ and the end of the line, and the answer comes back.
// The letter r starts the stream again. With a sensor of your own, read it where this sketch reads the serial port.
#include <NAME.h>

static NAME_state state;

void setup() {
  Serial.begin(115200);
  NAME_init(&state);  // a stream starts
}

void loop() {
  while (Serial.available() > 0 && Serial.peek() <= ' ') {
    Serial.read();  // what separates samples
  }
  if (Serial.available() == 0) {
    return;
  }
  if (Serial.peek() == 'r') {
    Serial.read();
    NAME_init(&state);
    return;
  }
  @DECLARED@;
@READ@
@ANSWER@
}
