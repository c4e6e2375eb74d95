const FIRST = (
  "amber ample bold brave brisk calm clear cosy crisp dapper deft eager early fair fleet fond " +
  "glad grand happy keen kind light lucky merry mild neat noble plain quick quiet sunny swift"
).split(" ");
const SECOND = (
  "badger beaver bison crane dolphin eagle falcon finch fox gecko heron ibex jay koala lark " +
  "lynx marten mole newt otter owl panda puffin quail raven robin seal stork swan tapir wren " +
  "yak"
).split(" ");

/** A name that can be read out, such as `quick-otter-7f3a`: for who does not care about it. Of 67 million. */
export function randomName(bytes: Uint8Array = crypto.getRandomValues(new Uint8Array(4))): string {
  const [first = 0, second = 0] = bytes;
  return `${FIRST[first % FIRST.length]}-${SECOND[second % SECOND.length]}-${bytes.subarray(2, 4).toHex()}`;
}
