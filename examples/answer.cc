// Loads a model, asks one question, prints the answer as it comes:  answer MODEL QUESTION
#include <ferry/ferry.h>

#include <iostream>

int fail(const ferry::Error& error) {
  std::cerr << error.message << "\n";
  return 2;
}

int main(int argc, char** argv) {
  if (argc != 3) return fail({ferry::ErrorKind::kInvalidInput, "usage: answer MODEL QUESTION"});
  auto engine = ferry::Engine::load({.model = argv[1]});
  if (!engine.ok()) return fail(engine.error());

  ferry::Request request{.prompt = ferry::TextPrompt{argv[2]}};
  request.sampling.temperature = 0;  // always the most probable token
  request.stop.max_tokens = 200;
  auto stream = engine->submit(request);
  if (!stream.ok()) return fail(stream.error());

  while (auto event = stream->next()) {
    std::cout << event->text << std::flush;
    if (event->finish && event->finish->error) return fail(*event->finish->error);
  }
  std::cout << "\n";
}
