package io.github.hookmux;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.github.hookmux.exhook.v3.ClientAuthenticateRequest;
import io.github.hookmux.exhook.v3.ClientConnectedRequest;
import io.github.hookmux.exhook.v3.HookSpec;
import io.github.hookmux.exhook.v3.MessagePublishRequest;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class OverridesTest {
  static class Base extends Plugin {
    @Override
    public void onClientConnected(ClientConnectedRequest request, Context context) {}

    @Override
    @Topics({"sensors/#", "a/+"})
    public Answer onMessagePublish(MessagePublishRequest request, Context context) {
      return pass();
    }
  }

  static class Inherits extends Base {
    @Override
    public void onStart() {}

    @Override
    public Access onClientAuthenticate(ClientAuthenticateRequest request, Context context) {
      return noOpinion();
    }
  }

  static class Overrides extends Base {
    @Override
    public Answer onMessagePublish(MessagePublishRequest request, Context context) {
      return drop();
    }
  }

  @Test
  void inheritedHooksCount() throws Exception {
    assertEquals(
        Map.of("client.connected", List.of(), "client.authenticate", List.of(), "message.publish", List.of("sensors/#", "a/+")),
        Harness.start(new Inherits()).hooks());
  }

  @Test
  void topicsCountWhereTheyStand() throws Exception {
    assertEquals(List.of(), Harness.start(new Overrides()).hooks().get("message.publish"));
  }

  private static void assertWrong(Plugin plugin, String... words) {
    var e = assertThrows(IllegalArgumentException.class, () -> Harness.start(plugin));
    for (String w : words) {
      assertTrue(e.getMessage().contains(w), e.getMessage());
    }
  }

  @Test
  void noHook() {
    assertWrong(new Plugin() {}, "has no hook", "onClientConnected(ClientConnectedRequest request, Context context)");
  }

  @Test
  void misspelledHook() {
    assertWrong(new Plugin() {
      public Access onClientAuthentcate(ClientAuthenticateRequest request, Context context) {
        return deny();
      }
    }, "onClientAuthentcate is no hook; did you mean onClientAuthenticate?");
    assertWrong(new Base() {
      public Access onClientCheckAcl(ClientAuthenticateRequest request, Context context) {
        return deny();
      }
    }, "did you mean onClientAuthorize?");
  }

  @Test
  void wrongParameters() {
    assertWrong(new Base() {
      public Access onClientAuthenticate(ClientAuthenticateRequest request) {
        return deny();
      }
    }, "wrong parameters", "want public Access onClientAuthenticate(ClientAuthenticateRequest request, Context context)");
    assertWrong(new Base() {
      public void onStart(String[] args) {}
    }, "onStart");
  }

  @Test
  void wrongTopics() {
    assertWrong(new Base() {
      @Override
      @Topics("a/#/b")
      public Answer onMessagePublish(MessagePublishRequest request, Context context) {
        return pass();
      }
    }, "@Topics of onMessagePublish", "# must be the last level");
    assertWrong(new Base() {
      @Override
      @Topics({})
      public Answer onMessagePublish(MessagePublishRequest request, Context context) {
        return pass();
      }
    }, "an empty list would mean every topic");
    assertWrong(new Base() {
      @Override
      @Topics("a")
      public void onClientConnected(ClientConnectedRequest request, Context context) {}
    }, "onClientConnected", "only hooks of messages");
  }

  @Test
  void pureIsCheckedAndDeclared() {
    Plugin pure = new Base() {
      @Override
      @Pure
      public Access onClientAuthenticate(ClientAuthenticateRequest request, Context context) {
        return deny();
      }
    };
    for (HookSpec spec : new Handler(pure).loaded().getHooksList()) {
      assertEquals(spec.getName().equals("client.authenticate"), spec.getPure(), spec.getName());
    }
    assertWrong(new Base() {
      @Override
      @Pure
      public void onClientConnected(ClientConnectedRequest request, Context context) {}
    }, "@Pure of onClientConnected", "only hooks with an answer");
  }

  @Test
  void topicFilters() {
    for (String[] yes : new String[][] {{"a/#", "a"}, {"a/#", "a/b/c"}, {"#", "a"}, {"a/+", "a/b"}, {"a/+", "a/+"}, {"+/b", "/b"}, {"$SYS/#", "$SYS/x"}}) {
      assertTrue(TopicFilters.covers(yes[0], yes[1]), String.join(" covers ", yes));
    }
    for (String[] no : new String[][] {{"a/+", "a"}, {"a/+", "a/#"}, {"a/+", "a/b/c"}, {"#", "$SYS/x"}, {"+", "$SYS"}, {"a", "a/b"}, {"a/b", "a"}}) {
      assertTrue(!TopicFilters.covers(no[0], no[1]), String.join(" does not cover ", no));
    }
  }
}
