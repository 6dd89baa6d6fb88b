package example;

import static org.junit.jupiter.api.Assertions.assertEquals;

import io.github.hookmux.Harness;
import io.github.hookmux.exhook.v3.ClientAuthorizeRequest;
import io.github.hookmux.exhook.v3.ClientConnectedRequest;
import io.github.hookmux.exhook.v3.ValuedResponse.ResponsedType;
import org.junit.jupiter.api.Test;

class EveryHookTest {
  @Test
  void itHooksEverythingAndDecidesNothing() throws Exception {
    try (Harness everyHook = Harness.start(new EveryHook())) {
      assertEquals(20, everyHook.hooks().size());
      everyHook.tell(ClientConnectedRequest.getDefaultInstance());
      var answer = everyHook.ask(ClientAuthorizeRequest.newBuilder().setTopic("a/b").build());
      assertEquals(ResponsedType.IGNORE, answer.getType());
    }
  }
}
